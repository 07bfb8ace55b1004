"""Person ids."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.pseudonym import Pseudonymiser, stillborn_subject

KEY = bytes(range(32))


@given(st.binary(min_size=32, max_size=200), st.text())
def test_an_id_is_hmac_sha256_cut_to_16_bytes(key: bytes, text: str) -> None:
    assert Pseudonymiser(key)(text) == hmac.digest(key, text.encode(), "sha256")[:16].hex()


def test_a_short_key_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="has 31 bytes; it needs at least 32") as refused:
        Pseudonymiser(b"k" * 31)
    assert "kkk" not in str(refused.value)


def test_the_fingerprint_tells_keys_apart_and_is_nobody_s_id() -> None:
    assert Pseudonymiser(KEY).fingerprint == Pseudonymiser(KEY).fingerprint
    assert Pseudonymiser(KEY).fingerprint != Pseudonymiser(KEY + b"x").fingerprint
    assert KEY.hex() not in repr(Pseudonymiser(KEY))


def test_digests_are_keyed() -> None:
    assert Pseudonymiser(KEY).digest(b"payload") == Pseudonymiser(KEY).digest(b"payload")
    assert Pseudonymiser(KEY).digest(b"payload") != Pseudonymiser(KEY + b"x").digest(b"payload")
    assert Pseudonymiser(KEY).digest(b"payload") != Pseudonymiser(KEY).digest(b"Payload")


@given(st.text(), st.text(), st.text(), st.text())
def test_stillborn_ids_are_told_apart(source: str, event_id: str, other_source: str, other_id: str) -> None:
    pseudonymise = Pseudonymiser(KEY)
    same = (source, event_id) == (other_source, other_id)
    assert (
        stillborn_subject(pseudonymise, source, event_id) == stillborn_subject(pseudonymise, other_source, other_id)
    ) is same
