"""Ed25519 keys of the archive: read, make, sign, check.

In: a file with a private or public key in PEM, as `openssl genpkey -algorithm ed25519` and `lampit audit keygen` write it.
Out: signatures over statements of `stream.archive`. Called by the archive agent and the audit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
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
    raw = _read(path)
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            "The file named by LAMPIT_ARCHIVE_KEY_FILE holds no unencrypted Ed25519 private key in PEM: "
            "make one with `lampit audit keygen FILE`."
        )
    return Signer(key)


def load_public(path: Path) -> str:
    """The public key of a file in hex; a private key's file will do too."""
    raw = _read(path)
    try:
        key = load_pem_public_key(raw)
    except ValueError:
        return load_signer(path).public
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds no Ed25519 key: name the .pub file that `lampit audit keygen` wrote.")
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
    _write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return _hex(key.public_key())


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists: name another file, or remove it first.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): name a key file in LAMPIT_ARCHIVE_KEY_FILE or --public-key; "
            "`lampit audit keygen FILE` makes one."
        ) from None


def _bytes(text: str) -> bytes:
    """Hex in the one spelling that is written: a changed letter is a change."""
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("not lower-case hex")
    return found


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
