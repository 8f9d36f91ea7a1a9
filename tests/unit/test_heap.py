"""What is large goes back to the system when it is freed, whatever small pieces lie between."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from fraudstream.heap import MAPPED_FROM_BYTES

FREED = 64
WHAT_IT_KEEPS = f"""
import ctypes, sys
from fraudstream.heap import steady_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def taken(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024

if sys.argv[1] == "steady":
    assert steady_heap()
libc.free(taken(16 * 2**20))  # from now on glibc, left alone, maps nothing that is smaller
before = resident()
large, small = [], []
for _ in range({FREED}):
    large.append(taken({MAPPED_FROM_BYTES}))
    small.append(taken(1000))
for address in large:
    libc.free(address)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library than glibc")
def test_what_is_large_goes_back_to_the_system() -> None:
    of_all = FREED * MAPPED_FROM_BYTES
    assert kept("left alone") > 0.9 * of_all
    assert kept("steady") < 0.1 * of_all


def kept(heap: str) -> int:
    """Bytes that a process still has of large pieces that it freed, with small ones between them that it did not."""
    return int(subprocess.run([sys.executable, "-c", WHAT_IT_KEEPS, heap], check=True, capture_output=True).stdout)
