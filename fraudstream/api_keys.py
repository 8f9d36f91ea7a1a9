"""API keys as they rest on disk: a name, a SHA-256, perhaps a rate; no key itself may ever be kept here.

One entry a line, `NAME:SHA256_HEX[:RATE]`; empty lines and lines that begin with # are left alone. A key has 256 random
bits, so a plain hash of it cannot be searched for.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fraudstream.errors import SettingsError

KEY_BYTES = 32
KEY_PREFIX = "fs_"
"""So that a scanner of leaked secrets can know one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_PARTS = 3


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key, without the key.

    Attributes:
        name: who has it; shown in logs.
        digest: SHA-256 of the key.
        rate_per_s: transactions a second that it may ask about; None: API_KEY_RATE holds, 0: no limit.
    """

    name: str
    digest: bytes
    rate_per_s: float | None = None

    def line(self) -> str:
        """The entry as a line of the file."""
        rate = "" if self.rate_per_s is None else f":{self.rate_per_s:g}"
        return f"{self.name}:{self.digest.hex()}{rate}"


def new_key() -> str:
    """A fresh key, to be shown once."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: bytes) -> bytes:
    """SHA-256 of a key."""
    return hashlib.sha256(key).digest()


def parse(text: str, source: str) -> tuple[KeyEntry, ...]:
    """Reads entries.

    Args:
        source: named in errors.

    Raises:
        SettingsError: names the line, never what stands in it.
    """
    entries: dict[str, KeyEntry] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            entry = _entry(line.strip(), f"{source}, line {number}")
            if entry.name in entries:
                raise SettingsError(f"{source}, line {number}: expected each name once, got {entry.name} again")
            entries[entry.name] = entry
    return tuple(entries.values())


def read(path: Path) -> tuple[KeyEntry, ...]:
    """Reads a file of entries.

    Raises:
        SettingsError: it cannot be read, or a line of it is no entry.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise SettingsError(
            f"API_KEY_HASHES_FILE={path}: expected a readable file of keys, got {said}; "
            "make one with `fraudstream keys add NAME`"
        ) from None


def write(path: Path, entries: Sequence[KeyEntry]) -> None:
    """Writes a file of entries in one step, readable by its owner only: a reader sees the old one or the new one.

    Raises:
        SettingsError: it cannot be written.
    """
    text = "".join(f"{entry.line()}\n" for entry in entries)
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
        os.replace(file.name, path)  # noqa: PTH105  one call for a str and a Path
    except OSError as error:
        raise SettingsError(f"{path}: expected a file that can be written, got {error.strerror}") from None


def check_name(name: str) -> str:
    """The name itself, if it may be one.

    Raises:
        SettingsError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"name of a key: expected 1 to 64 letters, digits, dots, dashes or underscores, got {name[:80]!r}"
        )
    return name


def check_rate(rate_per_s: float | None, source: str) -> float | None:
    """The rate itself, if a key may have it.

    Args:
        source: begins the error.

    Raises:
        SettingsError: it is negative, NaN or infinite.
    """
    if rate_per_s is not None and not (math.isfinite(rate_per_s) and rate_per_s >= 0):
        raise SettingsError(f"{source}: expected a rate of 0 or more transactions a second, got {rate_per_s:g}")
    return rate_per_s


def _entry(line: str, source: str) -> KeyEntry:
    parts = line.split(":")
    expected = f"{source}: expected NAME:SHA256_HEX[:RATE]"
    if not 1 < len(parts) <= _MOST_PARTS:
        raise SettingsError(f"{expected}, got {len(parts)} parts")
    if not _NAME.fullmatch(parts[0]):
        raise SettingsError(f"{expected}, got a name with other characters than letters, digits, dots, dashes")
    if not _DIGEST.fullmatch(parts[1].lower()):
        raise SettingsError(f"{expected}, got a hash that is not 64 hexadecimal digits")
    try:
        rate = float(parts[2]) if len(parts) == _MOST_PARTS else None
    except ValueError:
        rate = math.nan
    return KeyEntry(parts[0], bytes.fromhex(parts[1]), check_rate(rate, source))
