"""Work files of a training that is under way: each finished step is kept, so that a second run goes on from there.

A step's file gets its name only when it is whole and on the disk, so whatever moment a process dies at, a step is
either finished or not begun. All steps depend on the same facts (data, options, code); other facts, other work files.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as tensors_to_bytes

from fraudstream.errors import DataFileError

FOLDER = ".unfinished"
FACTS_FILE = "facts.json"
_LOCK_FILE = "lock"
_PART = ".part"

Arrays = dict[str, NDArray[Any]]


class WorkFiles:
    """What a training has finished so far; made by `work_files`.

    Attributes:
        resumed: steps that an earlier run had finished, in the order in which they were asked for.
        changed: facts that are others than those of an earlier run, whose work was thrown away.
    """

    def __init__(self, directory: Path, facts: Mapping[str, object]) -> None:
        self.resumed: list[str] = []
        self._directory = directory
        self.changed = self._start(json.loads(json.dumps(facts)))

    def arrays(self, step: str, make: Callable[[], Arrays]) -> Arrays:
        """Large arrays of a step, mapped from the disk; `make` is called only where they are not there yet."""
        folder = self._directory / step
        if not folder.is_dir():
            part = self._directory / f"{step}{_PART}"
            part.mkdir()
            for name, array in make().items():
                with (part / f"{name}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    _flush(file.fileno())
            self._finish(part, folder)
        else:
            self.resumed.append(step)
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}

    def has_tensors(self, step: str) -> bool:
        """Whether the tensors of a step are there already."""
        return (self._directory / f"{step}.safetensors").exists()

    def tensors(self, step: str, make: Callable[[], Arrays]) -> Arrays:
        """Tensors of a step; `make` is called only where they are not there yet."""
        path = self._directory / f"{step}.safetensors"
        if not self.has_tensors(step):
            data = tensors_to_bytes({name: np.ascontiguousarray(array) for name, array in make().items()})
            self._write(path, data)
        else:
            self.resumed.append(step)
        try:
            # Copies can be written to, as those that were just made: kernels are compiled for the one or the other.
            return {name: array.copy() for name, array in load_file(path).items()}
        except SafetensorError as error:
            raise DataFileError(f"{path}: expected tensors of this training, got {error}; remove its folder") from None

    def _start(self, facts: dict[str, Any]) -> tuple[str, ...]:
        path = self._directory / FACTS_FILE
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            earlier = {}
        for found in self._directory.iterdir():
            if found.name.endswith(_PART) or (earlier != facts and found.name not in (_LOCK_FILE, FACTS_FILE)):
                shutil.rmtree(found) if found.is_dir() else found.unlink()
        if earlier != facts:
            self._write(path, json.dumps(facts, indent=2).encode())
        return tuple(name for name in facts if earlier and earlier.get(name) != facts[name])

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_name(path.name + _PART)
        with part.open("wb") as file:
            file.write(data)
            _flush(file.fileno())
        self._finish(part, path)

    def _finish(self, part: Path, final: Path) -> None:
        part.replace(final)
        _flush_folder(self._directory)


@contextmanager
def work_files(out: Path, facts: Mapping[str, object]) -> Iterator[WorkFiles]:
    """The work files in `out`/.unfinished, for this process alone; they stay after an error and go after success.

    Args:
        out: where the model goes; made where it is missing.
        facts: everything that the result depends on, as JSON knows it.

    Raises:
        DataFileError: `out` cannot be written to, or another process trains there now.
    """
    directory = out / FOLDER
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / _LOCK_FILE).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataFileError(
                    f"{out}: expected a directory of this training's own, got one in which another training runs; "
                    "wait for it, or choose another --out"
                ) from None
            yield WorkFiles(directory, facts)
            shutil.rmtree(directory)
    except OSError as error:
        raise DataFileError(f"{out}: expected a place to write a model to, got {error.strerror or error}") from None


def finished_steps(out: Path) -> tuple[str, ...]:
    """Steps whose work is kept in `out`, oldest first."""
    directory = out / FOLDER
    found = [path for path in directory.glob("*") if path.is_dir() or path.suffix == ".safetensors"]
    whole = [path for path in found if not path.name.endswith(_PART)]
    return tuple(path.stem for path in sorted(whole, key=lambda path: path.stat().st_mtime_ns))


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
