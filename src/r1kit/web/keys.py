"""API keys: read from a file or the environment, compared in constant time, never printed."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from r1kit.errors import UserError

ENVIRONMENT = "R1KIT_API_KEYS"
SHORTEST = 16  # characters; a shorter key could be guessed


class ApiKeys:
    """The keys that a server accepts. Holds only their hashes.

    Raises:
        UserError: A key is too short, or has characters that an HTTP header cannot carry.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._hashes = [_hash(_checked(key).encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def accept(self, authorization: bytes) -> bool:
        """Return whether an Authorization header holds a key: `Bearer KEY`, or `Basic` with the key as password."""
        scheme, _, credentials = authorization.strip().partition(b" ")
        given = credentials.strip()
        if scheme.lower() == b"basic":
            given = _password(given)
        elif scheme.lower() != b"bearer":
            return False
        hashed = _hash(given)
        return sum(hmac.compare_digest(hashed, known) for known in self._hashes) > 0  # compares with every key


def load_keys(file: Path | None) -> ApiKeys:
    """Return the keys of a file, one per line, and those of R1KIT_API_KEYS, with commas between them.

    Raises:
        UserError: The file cannot be read or holds no key, or a key is not acceptable.
    """
    keys = [key.strip() for key in os.environ.get(ENVIRONMENT, "").split(",") if key.strip()]
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--api-key-file {file}: cannot be read: {error}") from None
        of_file = [line for line in lines if line and not line.startswith("#")]
        if not of_file:
            raise UserError(f"--api-key-file {file}: holds no key: write one per line")
        keys += of_file
    return ApiKeys(keys)


def _checked(key: str) -> str:
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            f"an API key of {len(key)} characters: must have at least {SHORTEST} printable ASCII characters without "
            "spaces; make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return key


def _password(encoded: bytes) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _hash(text: bytes) -> bytes:
    return sha256(text).digest()
