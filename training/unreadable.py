"""Where in a file the thing stands that cannot be read, so that a person finds it among a million rows.

Only asked once reading has failed: it takes its time to look again. Nothing here reads a good file.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

UNREADABLE = (pa.ArrowException, UnicodeDecodeError)

_TORN = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_SHOWN_CHARS = 60


def why_unreadable(path: Path, error: Exception) -> str:
    """What to tell of a file that is no table: what came in the place of one, and what to do."""
    if isinstance(error, FileNotFoundError):
        return f"{path}: expected a file of transactions, got {os.strerror(errno.ENOENT)}"
    todo = "; write it anew, or name another file"
    torn = _torn_row(path) if path.suffix == ".csv" else ""
    if torn:
        todo = "; put a text with commas or quotes in double quotes, or remove the row"
    elif isinstance(error, UnicodeDecodeError):
        todo = "; save it as UTF-8"
    elif isinstance(error, OSError):
        todo = ""
    return f"{path}: expected a readable {path.suffix[1:]} file, got {torn or first_line(error)}{todo}"


def other_names(in_file: Sequence[str]) -> str:
    """What to do about a file whose columns have other names than those that are needed."""
    separator = _other_separator(in_file[0]) if len(in_file) == 1 else ""
    if separator:
        return f"Its columns are separated by {separator}; write it with commas."
    return "Name other columns with --columns amount=COLUMN,..."


def first_unreadable(column: pa.ChunkedArray, read: Callable[[pa.ChunkedArray], object]) -> str:
    """The first value on which `read` fails and its row, counted from 1; empty where each can be read alone."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _can(read, column.slice(low, middle - low)) else (low, middle)
    if not len(column) or _can(read, column.slice(low, 1)):
        return ""
    return f"{_shown(column[low])} in row {low + 1:,}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _torn_row(path: Path) -> str:
    """The first row of a CSV file that has too few or too many columns, counted from 1; empty where none has."""
    try:
        pa_csv.read_csv(path, pa_csv.ReadOptions(use_threads=False))  # only so does the reader know its row
    except (OSError, *UNREADABLE) as error:
        found = _TORN.search(str(error))
        if found:
            row, expected, came = map(int, found.groups())  # the header is a row as well
            return f"row {row - 1:,} with {came} columns where the header has {expected}"
    return ""


def _other_separator(header: str) -> str:
    """What separates the names of a header that has no comma, in words; empty where nothing seems to."""
    if "," in header:
        return ""
    return next((words for character, words in _SEPARATORS.items() if character in header), "")


def _can(read: Callable[[pa.ChunkedArray], object], part: pa.ChunkedArray) -> bool:
    try:
        read(part)
    except UNREADABLE:
        return False
    return True


def _shown(value: Any) -> str:
    try:
        text = repr(value.as_py())
    except UnicodeDecodeError:
        return "text that is not UTF-8"
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
