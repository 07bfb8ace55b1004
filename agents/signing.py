"""Ed25519 keys of the archive: read, make, sign, check.

In: a file with a private or public key in PEM, as `openssl genpkey -algorithm ed25519` and `lampit audit keygen` write it.
Out: signatures over statements of `stream.archive`. Called by the archive agent and the audit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from agents.errors import ConfigurationError
from stream.archive import Statement, Succession

_PRIVATE_MODE: Final = 0o600
_ASK: Final = "ask whoever runs the archive for the .pub file of its key"
"""To make a key would be of no use to an auditor: it signed nothing."""

SaidT = TypeVar("SaidT", Statement, Succession)


class Signer:
    """Signs heads with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """`public`: the public key in hex, as it stands beside every signature."""
        self._key = key
        self.public = _hex(key.public_key())

    def sign(self, statement: Statement | Succession) -> str:
        """The signature in hex. Ed25519 is deterministic: the same statement gives the same signature."""
        return self._key.sign(statement.signed_bytes()).hex()


def load_signer(path: Path) -> Signer:
    """The signer of a private key file; ConfigurationError where it holds none."""
    try:
        key = _private(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"The file named by LAMPIT_ARCHIVE_KEY_FILE cannot be read ({error.strerror}): name the private key that signs "
            "the archive; `lampit audit keygen FILE` makes one."
        ) from None
    if key is None:
        raise ConfigurationError(
            "The file named by LAMPIT_ARCHIVE_KEY_FILE holds no unencrypted Ed25519 private key in PEM: "
            "make one with `lampit audit keygen FILE`."
        )
    return Signer(key)


def load_public(path: Path) -> str:
    """The public key of a file named in --public-key, in hex; a private key's file will do too."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--public-key {path} cannot be read ({error.strerror}): {_ASK}.") from None
    private = _private(raw)
    if private is not None:
        return _hex(private.public_key())
    try:
        key = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"--public-key {path} holds no Ed25519 public key in PEM: {_ASK}.")
    return _hex(key)


def is_signed(statement: Statement | Succession) -> bool:
    """Whether the signature is that of the key named beside it."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(statement.key))
        key.verify(_bytes(statement.signature), statement.signed_bytes())
    except (ValueError, InvalidSignature):
        return False
    return True


def signed(statement: SaidT, signer: Signer) -> SaidT:
    """The statement with key and signature."""
    return msgspec.structs.replace(statement, key=signer.public, signature=signer.sign(statement))


def make_key(private: Path, public: Path) -> str:
    """Write a new key to two files that do not exist yet; the public key in hex."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(private, pem, _PRIVATE_MODE)
    try:
        _write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except ConfigurationError:  # beside the public key of another one it would be taken for that one's
        private.unlink()
        raise
    return _hex(key.public_key())


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists: name another file, or remove it first.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None


def _private(raw: bytes) -> Ed25519PrivateKey | None:
    """The key of a private key's file; None where it is none, or needs a password."""
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _bytes(text: str) -> bytes:
    """Hex in the one spelling that is written: a changed letter is a change."""
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("not lower-case hex")
    return found


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
