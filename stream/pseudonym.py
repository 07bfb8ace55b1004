"""Person ids: a keyed hash of the NIK, so that nobody without the key can go back from one to the other.

In: the key, kept apart from the data, and NIKs. Out: 32 hexadecimal digits each. Called by intake, `lampit count` and
`lampit rotate`. A plain hash would hide nothing: about ten thousand NIKs are possible once birth date, sex and district are
known.

Keys are rotated by nesting: the id under a new key is the keyed hash of the id under the old one. So a ledger is rewritten
from its ids alone, without a NIK and without the old key, and intake gets from a NIK to the same id by all keys in turn.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

KEY_BYTES_MIN: Final = 32
_ID_DIGITS: Final = 32

_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))

_FINGERPRINT_LABEL: Final = "lampit pseudonym key fingerprint"
_PAYLOAD_LABEL: Final = "lampit payload "
_STILLBORN_LABEL: Final = "lampit stillborn "
# No label is sixteen digits, so none of these values can be a person's id.


class Pseudonymise(Protocol):
    """What turns a text into 32 hexadecimal digits under the key."""

    def __call__(self, text: str, /) -> str:
        """The keyed pseudonym of a text."""


class Pseudonymiser:
    """HMAC-SHA256 under one key, cut to 16 bytes; of several keys each is put over what the one before it gave.

    The two hash states of RFC 2104 are begun once and copied: half the time of `hmac`, on the path of every event.
    """

    __slots__ = ("_inner", "_newer", "_outer", "fingerprint")

    def __init__(self, key: bytes, *newer: bytes) -> None:
        """The oldest key, then those it was rotated to; refuses a key of less than 32 bytes, which could be guessed."""
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"the pseudonym key has {len(key)} bytes; it needs at least {KEY_BYTES_MIN} random bytes")
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))
        self._newer = tuple(Pseudonymiser(one) for one in newer)
        self.fingerprint: Final = self(_FINGERPRINT_LABEL)
        """Says which keys these are, and in which order, without telling them; safe to publish. Nested as the ids are."""

    def __call__(self, text: str, /) -> str:
        """The person id of a NIK; of an id under older keys, the one under these."""
        inner = self._inner.copy()
        inner.update(text.encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        found = outer.hexdigest()[:_ID_DIGITS]
        for newer in self._newer:
            found = newer(found)
        return found

    def __repr__(self) -> str:
        """Never shows the key."""
        return f"Pseudonymiser(fingerprint={self.fingerprint!r})"

    def digest(self, payload: bytes) -> str:
        """The keyed digest of a payload that cannot be kept."""
        return payload_digest(self, payload)


def payload_digest(pseudonymise: Pseudonymise, payload: bytes) -> str:
    """The keyed digest of a payload: recognises the same payload again, tells nothing about it without the key."""
    return pseudonymise(_PAYLOAD_LABEL + hashlib.sha256(payload).hexdigest())


def stillborn_subject(pseudonymise: Pseudonymise, source: str, event_id: str) -> str:
    """The person id of a stillborn without a NIK: a person of its own, named by the event (reading 3)."""
    return pseudonymise(f"{_STILLBORN_LABEL}{len(source)} {source}{event_id}")
