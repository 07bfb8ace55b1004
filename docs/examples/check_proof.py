# fmt: off
"""python check_proof.py KEY.pub HEADS.jsonl < PROOF: as RFC 9162 has it (2.1.3.2, 2.1.4.2), with nothing of Lampit's."""
import contextlib, hashlib, json, struct, sys  # noqa: E401, I001
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()
def expect(holds, what):
    return holds or sys.exit(f"NOT PROVED: {what}")

def signed_root(size):  # of the head that was kept
    key = load_pem_public_key(open(sys.argv[1], "rb").read())  # noqa: SIM115
    for head in map(json.loads, open(sys.argv[2], encoding="utf-8")):  # noqa: SIM115
        if head["next_offset"] == size and all(head[name] == proof[name] for name in ("ledger_id", "topic", "partition")):
            text = json.dumps(head | {"key": "", "signature": ""}, sort_keys=True, separators=(",", ":"))
            with contextlib.suppress(InvalidSignature):
                key.verify(bytes.fromhex(head["signature"]), f"lampit archive head\n{text}".encode())
                return bytes.fromhex(head["root"])
            expect(False, "the head is not signed with this key")
    expect(False, f"no head of {size} offsets was kept")

def climb(number, last, old, new, path):  # to the root of the earlier tree (of use for consistency) and to that of the whole
    for one in path:
        expect(last, "the path is too long")
        if number % 2 or number == last:
            old, new = sha(b"\1", one, old), sha(b"\1", one, new)
            while number and number % 2 == 0:
                number, last = number // 2, last // 2
        else:
            new = sha(b"\1", new, one)
        number, last = number // 2, last // 2
    expect(last == 0, "the path is too short")
    return old, new

proof = json.load(sys.stdin)
path, first, size = [bytes.fromhex(text) for text in proof["path"]], proof.get("first_size"), proof["tree_size"]
if proof["proof"] == "inclusion":
    index, leaf = proof["leaf_index"], bytes.fromhex(proof.get("leaf_hash") or sha(b"\0").hex())
    if record := proof.get("record"):
        texts = [None if record[name] is None else record[name].encode() for name in ("key", "value")]
        data = [struct.pack("<q", -1) if text is None else struct.pack("<q", len(text)) + text for text in texts]
        leaf = sha(b"\0", struct.pack("<2q", index, record["timestamp_ms"]), *data)
    expect(0 <= index < size and climb(index, size - 1, leaf, leaf, path)[1] == signed_root(size), "another root comes out")
    print(f"PROVED: offset {index} of partition {proof['partition']} is in the ledger as it is here")
else:
    path, zeros = path if first & (first - 1) else [signed_root(first), *path], (first & -first).bit_length() - 1
    roots = climb(first - 1 >> zeros, size - 1 >> zeros, path[0], path[0], path[1:]) if 0 < first < size else None
    expect(roots == (signed_root(first), signed_root(size)), "other roots come out")
    print(f"PROVED: the {size} offsets of partition {proof['partition']} begin with the {first} of the earlier head")
