"""One way to compile a numeric kernel; every hot loop of the library is decorated with `compiled` from here.

Numba caches machine code by the file that holds a function, and does not see that a constant it imported from another
file has changed. So the cache folder carries a hash of all sources that take part: stale code cannot be loaded.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_PACKAGE = Path(__file__).parent
_ROOMS = ("state", "features", "score", "decide", "wire")
_LIMITS = "transaction.py"
"""Outside the rooms, but kernels take constants from it."""

Function = TypeVar("Function", bound=Callable[..., Any])

Int = Any
"""A machine integer inside a kernel: numba infers its width and sign, which Python's types cannot say."""


def _source_hash() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in (
        Path(__file__),
        _PACKAGE / _LIMITS,
        *(path for room in _ROOMS for path in sorted((_PACKAGE / room).glob("*.py"))),
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    base = os.environ.get("NUMBA_CACHE_DIR") or Path.home() / ".cache" / "fraudstream" / "numba"
    folder = Path(base) / _source_hash()
    if not folder.is_dir() or os.access(folder, os.W_OK):
        return str(folder)
    # An image's cache is read-only, and Numba takes no folder that it cannot write to: one of links is enough for it.
    links = tempfile.mkdtemp(prefix="fraudstream-numba-")
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    return str(shutil.copytree(folder, links, copy_function=os.symlink, dirs_exist_ok=True))


setattr(numba.config, "CACHE_DIR", _cache_folder())  # noqa: B010  numba's types do not know its settings


def compiled(function: Function) -> Function:
    """Compiles to machine code, cached on disk, without the GIL; floats keep IEEE order (never fastmath)."""
    return cast(Function, numba.njit(cache=True, nogil=True, fastmath=False)(function))


def vectorised(function: Function) -> Function:
    """As `compiled`, but what is divided by zero is infinite or no number: a check for it would keep vectors out."""
    return cast(Function, numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """As `compiled`, for what is called many times a row: it becomes a part of each caller, because a call that hands
    an array on costs as much as ten steps."""
    return cast(Function, numba.njit(cache=True, nogil=True, fastmath=False, forceinline=True)(function))
