"""Merkle trees: the vectors of the reference implementations, and the definitions of RFC 9162 written out naively."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.merkle import EMPTY_ROOT, Missing, Tree, blocks, extends, includes, leaf_hash, stretch

# The entries, roots and proofs by which the implementations of Certificate Transparency test each other.
ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSIONS = {(0, 1): [], (0, 8): [A, B, C], (5, 8): [D, E, ROOTS[3]], (2, 3): [ROOTS[1]], (1, 5): [ROOTS[0], B, D]}
CONSISTENCIES = {(1, 1): [], (1, 8): [A, B, C], (6, 8): [F, E, ROOTS[3]], (2, 5): [B, D]}

LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]


def hexes(path: list[bytes]) -> list[str]:
    return [one.hex() for one in path]


def split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, over hashes of leaves."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], is_whole: bool) -> list[bytes]:
    """RFC 9162, 2.1.4.1."""
    if m == len(leaves):
        return [] if is_whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], is_whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def made(size: int) -> list[bytes]:
    return [leaf_hash(bytes([number % 256, number // 256])) for number in range(size)]


def cut(leaves: list[bytes], cuts: set[int]) -> Tree:
    """A tree that knows its leaves only in blocks that end at the cuts, as segments do."""
    places = sorted({cut for cut in cuts if 0 < cut < len(leaves)} | {0, len(leaves)})
    tree = Tree()
    for start, end in pairwise(places):
        found = blocks(leaves[start:end], start)
        assert [(one.start, one.size) for one in found] == stretch(start, end)
        tree.add(found)
    return tree


def test_the_roots_of_the_reference() -> None:
    tree = Tree(
        blocks(LEAVES[:1]) + [one for number in range(1, 8) for one in blocks(LEAVES[number : number + 1], number)]
    )
    assert [tree.root(size).hex() for size in range(1, 9)] == ROOTS
    assert tree.root(0) == EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize(("asked", "expected"), INCLUSIONS.items())
def test_the_inclusions_of_the_reference(asked: tuple[int, int], expected: list[str]) -> None:
    index, size = asked
    proof = cut(LEAVES, set(range(8))).inclusion(index, size)
    assert hexes(proof) == expected
    assert includes(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("asked", "expected"), CONSISTENCIES.items())
def test_the_consistencies_of_the_reference(asked: tuple[int, int], expected: list[str]) -> None:
    first, second = asked
    proof = cut(LEAVES, set(range(8))).consistency(first, second)
    assert hexes(proof) == expected
    assert extends(first, second, proof, *(bytes.fromhex(ROOTS[size - 1]) for size in asked))


@given(st.data(), st.integers(1, 200), st.sets(st.integers(1, 200)))
def test_proofs_are_those_of_the_definition_and_hold(data: st.DataObject, size: int, cuts: set[int]) -> None:
    """However the leaves are cut into segments; asked of any leaf, up to the end of any segment."""
    leaves = made(size)
    ends = sorted({cut for cut in cuts if cut < size} | {size})
    second = data.draw(st.sampled_from(ends))
    index = data.draw(st.integers(0, second - 1))
    tree = cut(leaves, cuts)
    root = mth(leaves[:second])
    assert tree.root(second) == root
    # Of the segment that holds the leaf, the leaves are known too.
    tree.add(
        one for number, leaf in enumerate(leaves) for one in blocks([leaf], number) if _together(index, number, ends)
    )
    proof = tree.inclusion(index, second)
    assert proof == path(index, leaves[:second])
    assert includes(leaves[index], index, second, proof, root)

    first = data.draw(st.sampled_from([end for end in ends if end <= second]))
    proof = cut(leaves, cuts).consistency(first, second)
    assert proof == subproof(first, leaves[:second], True)
    assert extends(first, second, proof, mth(leaves[:first]), root)


def _together(one: int, other: int, ends: list[int]) -> bool:
    return [one < end for end in ends] == [other < end for end in ends]


@given(st.data(), st.integers(2, 70))
def test_nothing_else_is_proved(data: st.DataObject, size: int) -> None:
    """Another leaf, another place, another size, another root, a path that was changed: none holds."""
    leaves = made(size)
    tree = cut(leaves, set(range(size)))
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    proof, root = tree.inclusion(index, size), tree.root(size)
    changed = _changed(data, proof)
    assert not includes(leaves[index], index, size, changed, root)
    assert not includes(leaf_hash(b"another"), index, size, proof, root)
    assert not includes(leaves[index], (index + 1) % size, size, proof, root)
    assert not includes(leaves[index], size, size, proof, root)
    assert not includes(leaves[index], index, size, proof, leaf_hash(b"another"))

    proof = tree.consistency(first, size)
    roots = (tree.root(first), root)
    assert not extends(first, size, _changed(data, proof), *roots)
    assert not extends(first, size, proof, leaf_hash(b"another"), root)
    assert not extends(first, size, proof, roots[0], leaf_hash(b"another"))
    assert not extends(0, size, proof, *roots)
    assert not extends(size, first, proof, *roots)
    assert not extends(size, size, [leaf_hash(b"another")], root, root)


def _changed(data: st.DataObject, proof: list[bytes]) -> list[bytes]:
    way = data.draw(st.sampled_from(["other", "more", "less"]))
    at = data.draw(st.integers(0, len(proof) - 1)) if proof else 0
    if way == "more" or not proof:
        return [*proof[:at], leaf_hash(b"another"), *proof[at:]]
    return [*proof[:at], *([leaf_hash(b"another")] if way == "other" else []), *proof[at + 1 :]]


def test_what_the_blocks_do_not_tell_is_said() -> None:
    with pytest.raises(Missing, match="nothing is known of leaf"):
        Tree(blocks(LEAVES)).inclusion(3, 8)
    with pytest.raises(ValueError, match="no leaf 8"):
        Tree(blocks(LEAVES)).inclusion(8, 8)
    with pytest.raises(ValueError, match="not the beginning"):
        Tree(blocks(LEAVES)).consistency(8, 7)
