"""The record of `lampit.heads`: a signed head of the archive, for whoever keeps them elsewhere.

In: nothing. Out: `schemas/json/heads.json`. The archive has `stream.archive` for it. The signature (Ed25519) is over the text
`lampit archive head` and a line feed, followed by this object as JSON without white space, its names sorted, `key` and
`signature` empty texts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from schemas.fields import Count, Day, Output

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, or a public key, in hexadecimal."""

Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
"""Ed25519 signature in hexadecimal."""


class HeadRecord(Output):
    """What a partition of the archive held when a business day began.

    The record's key is `ledger_id|topic|partition|next_offset`.
    """

    format: Literal[1]
    """Version of the archive's format."""
    ledger_id: str
    """Identity of the ledger."""
    topic: str
    """The topic archived."""
    partition: Count
    """Its partition."""
    next_offset: Count
    """Everything before it is in the archive."""
    segments: Count
    """How many segments hold it."""
    day: Day
    """The business day that begins here."""
    head: Digest
    """Head of the hash chain over the segments."""
    root: Digest
    """Root of the Merkle tree (RFC 9162) whose leaf n is the record of offset n, next_offset leaves."""
    key: Digest
    """The public key that signed."""
    signature: Signature
    """The signature."""
