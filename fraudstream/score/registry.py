"""A registry of models: a directory that holds every version, and which of them is promoted; no server, no client.

    REGISTRY/versions/<model_version>/{manifest.json, model.safetensors[, metrics.json]}
    REGISTRY/promoted.json    the promoted version and every promotion so far; replaced as a whole
    REGISTRY/.lock            held by whoever changes anything; readers need no lock

A version is copied once and never changed. Readers see the old or the new promoted.json, never a part of one.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fraudstream.errors import FraudstreamError, ModelError, ModelMismatch
from fraudstream.score import artifact
from fraudstream.score.files import lock_file, replace_file, sync
from fraudstream.score.promotions import Action, Promotion, Promotions

VERSIONS_FOLDER = "versions"
PROMOTED_FILE = "promoted.json"
LOCK_FILE = ".lock"
METRICS_FILE = "metrics.json"
"""Beside a manifest, where a model was evaluated: one JSON object."""

_COPY_PREFIX = ".adding-"
_LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Versions and files come from a manifest that may be anybody's: none of them may lead out of its directory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered version.

    Attributes:
        directory: where it is.
        manifest: what it was made from; None where it cannot be read.
        metrics: what metrics.json holds, empty where there is none.
        problem: why it cannot be read, empty where it can.
    """

    version: str
    directory: Path
    manifest: artifact.Manifest | None
    metrics: dict[str, Any]
    problem: str = ""


class Registry:
    """The registry in a directory; nothing is read before it is asked for.

    Args:
        directory: need not exist before the first model is added.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._versions = directory / VERSIONS_FOLDER

    # Reading

    def promotions(self) -> Promotions:
        """The promoted version and how it came to that.

        Raises:
            ModelError: there is no registry here, or promoted.json cannot be read.
        """
        self._require_directory()
        return Promotions.read(self.directory / PROMOTED_FILE)

    def promoted_directory(self) -> Path:
        """Where the promoted model is.

        Raises:
            ModelError: there is no registry here, or nothing is promoted in it.
        """
        version = self.promotions().version
        if version is None:
            raise ModelError(
                f"MODEL_REGISTRY={self.directory}: expected a promoted model, none is promoted yet; promote one with "
                "`fraudstream models promote VERSION|DIR`"
            )
        return self._directory_of(version)

    def entries(self) -> list[Entry]:
        """Every registered version, the one fitted last at the end, broken ones first.

        Raises:
            ModelError: there is no registry here.
        """
        self._require_directory()
        found = [
            self._entry(path.name, path)
            for path in (self._versions.iterdir() if self._versions.is_dir() else ())
            if path.is_dir() and _LEGAL_NAME.fullmatch(path.name)
        ]
        return sorted(found, key=lambda entry: (_created_s(entry), entry.version))

    def entry(self, version: str) -> Entry:
        """One registered version.

        Raises:
            ModelError: there is none of this name.
        """
        self._require_directory()
        return self._entry(version, self._directory_of(version))

    # Changing

    def add(self, source: Path) -> tuple[str, bool]:
        """Copies a model into the registry, unless it is there already.

        Returns:
            Its version, and whether it was copied.

        Raises:
            ModelError, ModelMismatch: the model cannot be used, or another one is registered under its name.
        """
        with self._changing():
            return self._add(source)

    def promote(self, version_or_directory: str, note: str = "") -> Promotion | None:
        """Makes a version the one that workers use; a model in a directory is added first.

        The model is loaded in full before anything changes.

        Args:
            version_or_directory: a registered version, else the path of a model.
            note: why, for the history.

        Returns:
            The promotion, None where this version was promoted already.

        Raises:
            ModelError, ModelMismatch: there is no such model, or it cannot be used.
        """
        with self._changing():
            version = self._registered(version_or_directory)
            self._try(version)
            done = Promotions.read(self.directory / PROMOTED_FILE)
            return None if done.version == version else self._write(done, "promote", version, note)

    def rollback(self, note: str = "") -> Promotion:
        """Goes back to the version that was promoted before the present one; again, to the one before that.

        Raises:
            ModelError, ModelMismatch: there is none before it, or it can no longer be used.
        """
        with self._changing():
            done = Promotions.read(self.directory / PROMOTED_FILE)
            version = done.before
            if version is None:
                raise ModelError(
                    f"{self.directory}: expected a version that was promoted before the present one "
                    f"({done.version or 'none'}), there is none; promote one with `fraudstream models promote VERSION`"
                )
            self._try(version)
            return self._write(done, "rollback", version, note)

    # Inside the lock

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self._versions.mkdir(parents=True, exist_ok=True)
            with lock_file(self.directory / LOCK_FILE):
                for left_over in self._versions.glob(f"{_COPY_PREFIX}*"):  # by a process that was killed
                    shutil.rmtree(left_over)
                yield
        except OSError as error:
            raise ModelError(
                f"{error.filename or self.directory}: expected to write to the registry, got: "
                f"{error.strerror or error}; mend that, and try again"
            ) from None

    def _registered(self, version_or_directory: str) -> str:
        if _LEGAL_NAME.fullmatch(version_or_directory) and (self._versions / version_or_directory).is_dir():
            return version_or_directory
        source = Path(version_or_directory)
        if not source.is_dir():
            raise ModelError(
                f"{version_or_directory}: expected a version of {self.directory} ({self._known()}) or the directory "
                "of a model, it is neither; `fraudstream models list` shows the versions"
            )
        return self._add(source)[0]

    def _add(self, source: Path) -> tuple[str, bool]:
        manifest = artifact.read_manifest(source)
        version = manifest.model_version
        illegal = [name for name in (version, *manifest.files) if not _LEGAL_NAME.fullmatch(name)]
        if illegal:
            raise ModelMismatch(
                f"{source}: expected plain names of a version and of files in the manifest, got {illegal[0]!r}; "
                "train a new model"
            )
        target = self._versions / version
        if target.exists():
            self._require_same(source, manifest, target)
            return version, False
        artifact.load(source)  # before it is copied, so that a refusal names the model that was meant
        # Copied beside its place, checked there and renamed: a version is never there in part.
        copy = self._versions / f"{_COPY_PREFIX}{uuid.uuid4().hex}"
        try:
            _copy(source, copy, (*manifest.files, METRICS_FILE, artifact.MANIFEST_FILE))
            artifact.load(copy)
            copy.rename(target)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        sync(self._versions)
        return version, True

    def _require_same(self, source: Path, manifest: artifact.Manifest, target: Path) -> None:
        if artifact.read_manifest(target).files != manifest.files:
            raise ModelMismatch(
                f"{source}: expected the model that is registered as {manifest.model_version} in {target}, got one "
                "with other files under the same name; train a new model, or remove the registered one"
            )

    def _try(self, version: str) -> None:
        directory = self._directory_of(version)
        found = artifact.load(directory).version
        if found != version:  # workers would take it up again and again, looking for this version
            raise ModelMismatch(
                f"{directory}: expected the model {version}, its manifest says {found}: the directory or the manifest "
                "was renamed; remove it, and add the model again"
            )

    def _write(self, done: Promotions, action: Action, version: str, note: str) -> Promotion:
        promotion = Promotion(
            at=datetime.now(UTC), action=action, from_version=done.version, to_version=version, by=_user(), note=note
        )
        replace_file(self.directory / PROMOTED_FILE, done.after(promotion).encoded())
        return promotion

    # Looking up

    def _require_directory(self) -> None:
        if not self.directory.is_dir():
            raise ModelError(
                f"MODEL_REGISTRY={self.directory}: expected a directory, there is none; "
                "`fraudstream models add DIR` makes it"
            )

    def _directory_of(self, version: str) -> Path:
        directory = self._versions / version
        if not _LEGAL_NAME.fullmatch(version) or not directory.is_dir():
            raise ModelError(
                f"{self.directory}: expected a registered version ({self._known()}), got {version!r}; "
                "add it with `fraudstream models add DIR`"
            )
        return directory

    def _known(self) -> str:
        names = sorted(path.name for path in self._versions.iterdir()) if self._versions.is_dir() else []
        return ", ".join(name for name in names if _LEGAL_NAME.fullmatch(name)) or "there are none yet"

    def _entry(self, version: str, directory: Path) -> Entry:
        try:
            return Entry(version, directory, artifact.read_manifest(directory), _metrics(directory))
        except FraudstreamError as error:
            return Entry(version, directory, None, {}, str(error))


def _metrics(directory: Path) -> dict[str, Any]:
    path = directory / METRICS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path}: expected a JSON object of metrics, got {error}; mend or remove it") from None


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copies the files that are there, as new files of whoever runs this, down to the disk."""
    target.mkdir()
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            sync(target / name)
    sync(target)


def _created_s(entry: Entry) -> float:
    return entry.manifest.training.created_at.timestamp() if entry.manifest else 0.0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
