"""Which API keys are known now: those of the settings, and those of a file that is read again when it changes."""

from __future__ import annotations

import hmac
import logging
import time
from pathlib import Path

from fraudstream import api_keys
from fraudstream.api_keys import KeyEntry
from fraudstream.errors import SettingsError
from fraudstream.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How often the file is looked at: a key that was removed is refused within this time."""

Stamp = tuple[int, int, int]


class KeyRing:
    """The known keys of a process.

    Args:
        settings: API_KEYS and API_KEY_HASHES_FILE.

    Raises:
        SettingsError: the file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.needs_key = settings.needs_key
        self._rate_per_s = settings.api_key_rate
        self._path = settings.api_key_hashes_file
        self._fixed = tuple(
            KeyEntry(f"key-{at}", api_keys.digest_of(key.encode())) for at, key in enumerate(settings.keys, start=1)
        )
        self._stamp = None if self._path is None else _stamp(self._path)
        self._from_file = () if self._path is None else api_keys.read(self._path)
        self._looked_s = time.monotonic()

    def find(self, offered: str) -> KeyEntry | None:
        """The entry of a key that was shown, None for an unknown one; takes as long for either."""
        self._look()
        digest = api_keys.digest_of(offered.encode("utf-8", "surrogateescape"))
        found = None
        for entry in (*self._fixed, *self._from_file):  # all of them: the time tells nothing
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return found

    def rate_per_s(self, entry: KeyEntry) -> float:
        """How many transactions a second the key may ask about; 0: no limit."""
        return self._rate_per_s if entry.rate_per_s is None else entry.rate_per_s

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._path is None or now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._from_file = api_keys.read(self._path)
        except SettingsError as error:  # half written, or a typing error: who could call before still can
            log.error("the API keys read before stay in use: %s", error)
        else:
            log.info("%d API keys read from %s", len(self._from_file), self._path)


def _stamp(path: Path) -> Stamp | None:
    """Changes when the file does; a symbolic link is followed, as Kubernetes mounts secrets."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
