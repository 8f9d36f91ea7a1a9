"""The C library's heap in a process that runs for weeks: what is large goes back to the system when it is freed.

Left alone, glibc raises the size from which memory is mapped on its own with every large piece that is freed. Then
RocksDB's write buffers come from the same heap as the small pieces of a batch, which lie between them and hold them
fast, and resident memory wanders: <https://man7.org/linux/man-pages/man3/mallopt.3.html>.
"""

from __future__ import annotations

import ctypes
import logging
import platform

log = logging.getLogger(__name__)

MAPPED_FROM_BYTES = 2**20
"""A block of RocksDB's write buffer. From 128 KiB on, glibc's first value, each batch would map its arrays anew: 4.5
page faults a transaction under a backlog, instead of 0.4."""
KEPT_FREE_BYTES = 4 * 2**20
"""At the end of a heap, so that batches do not take and return the same memory again and again."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def steady_heap() -> bool:
    """Fixes both sizes for this process; elsewhere than with glibc there is nothing to fix.

    Returns:
        Whether they are fixed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    done = [mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), mallopt(_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)]
    if not all(done):
        log.warning("expected glibc to take sizes of its heap, it refused: resident memory may wander")
    return all(done)
