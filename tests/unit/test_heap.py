"""What is large goes back to the system when it is freed, whatever small pieces lie between."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from fraudstream.heap import MAPPED_FROM_BYTES
from tests.checkout import ROOT

FREED = 64
WHAT_IT_KEEPS = f"""
import ctypes, os, sys
from benchmarks.process_figures import resident_mib
from fraudstream.heap import steady_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def taken(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address

if sys.argv[1] == "steady":
    assert steady_heap()
libc.free(taken(16 * 2**20))  # from now on glibc, left alone, maps nothing that is smaller
before_mib = resident_mib(os.getpid())
large, small = [], []
for _ in range({FREED}):
    large.append(taken({MAPPED_FROM_BYTES}))
    small.append(taken(1000))
for address in large:
    libc.free(address)
print(resident_mib(os.getpid()) - before_mib)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library than glibc")
def test_what_is_large_goes_back_to_the_system() -> None:
    of_all_mib = FREED * MAPPED_FROM_BYTES / 2**20
    assert kept_mib("left alone") > 0.9 * of_all_mib
    assert kept_mib("steady") < 0.1 * of_all_mib


def kept_mib(heap: str) -> float:
    """What a process still has of large pieces that it freed, with small ones between them that it did not."""
    command = [sys.executable, "-c", WHAT_IT_KEEPS, heap]
    return float(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
