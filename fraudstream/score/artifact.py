"""A model on disk: tensors in one safetensors file, everything else in a JSON manifest; nothing here is ever pickled.

A model that does not fit this code, or whose bytes are not those that were saved, is refused before it scores anything.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from fraudstream.errors import ModelError, ModelMismatch
from fraudstream.features.catalogue import FEATURE_NAMES, MODEL_INPUTS, OWN_FEATURES, catalogue_hash
from fraudstream.features.reference import Reference
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import DEFAULT_WEIGHTS, Ensemble
from fraudstream.score.forest import Forest
from fraudstream.score.lstm import Lstm

FORMAT_VERSION = 3
"""Raised when tensors change their names or meaning, or when sequences do: features have their own hash."""

TENSOR_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "default"
"""The model that ships with the package."""

_LIBRARIES = ("fraudstream", "numpy", "scikit-learn", "torch")


class TrainingFacts(msgspec.Struct, frozen=True):
    """What a model was made from.

    Attributes:
        first_event_time: of the stream that it was fitted to.
        last_event_time: of the same.
        rows: transactions in that stream.
        seed: of everything random in fitting.
        source: the stream's name, for people.
        created_at: when it was fitted.
        data_hash: SHA-256 of the file that it was fitted to; empty where there was none.
    """

    first_event_time: datetime
    last_event_time: datetime
    rows: int
    seed: int
    source: str
    created_at: datetime
    data_hash: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in manifest.json.

    Attributes:
        format_version: of the tensors.
        model_version: name made from the content: equal models have equal names.
        catalogue_hash: of the feature catalogue that the model was trained on.
        features: the catalogue's names, so that a refusal can say what differs.
        model_inputs: the features that the forest and the autoencoder read.
        training: what it was made from.
        files: SHA-256 of each file beside the manifest.
        libraries: versions with which it was made.
    """

    format_version: int
    model_version: str
    catalogue_hash: str
    features: tuple[str, ...]
    model_inputs: tuple[str, ...]
    training: TrainingFacts
    files: dict[str, str]
    libraries: dict[str, str]


class _Format(msgspec.Struct, frozen=True):
    format_version: int


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model: the ensemble, what its features compare with, and what both were made from."""

    ensemble: Ensemble
    reference: Reference
    manifest: Manifest

    @property
    def version(self) -> str:
        """Name of the model in verdicts."""
        return self.manifest.model_version


def save(directory: Path, ensemble: Ensemble, reference: Reference, training: TrainingFacts) -> Manifest:
    """Writes the model; the directory is made where it is missing, an older model in it is replaced.

    The manifest comes last: a directory half written has an older manifest or none, and is refused.
    """
    parts: dict[str, dict[str, NDArray[Any]]] = {
        "forest": ensemble.forest.tensors(),
        "autoencoder": ensemble.autoencoder.tensors(),
        "lstm": ensemble.lstm.tensors(),
        "calibration": {"reference": ensemble.calibration.reference, "category": ensemble.reference_categories},
        "reference": reference.tensors(),
    }
    flat = {f"{part}.{name}": array for part, tensors in parts.items() for name, array in tensors.items()}
    data = tensors_to_bytes({name: np.ascontiguousarray(array) for name, array in flat.items()})
    digest = hashlib.sha256(data).hexdigest()
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_version=f"m-{digest[:12]}",
        catalogue_hash=catalogue_hash(),
        features=FEATURE_NAMES,
        model_inputs=tuple(feature.name for feature in MODEL_INPUTS),
        training=training,
        files={TENSOR_FILE: digest},
        libraries=_library_versions(),
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TENSOR_FILE).write_bytes(data)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (directory / MANIFEST_FILE).write_bytes(text + b"\n")
    return manifest


def load(directory: Path = DEFAULT_MODEL, weights: MemberWeights = DEFAULT_WEIGHTS) -> Model:
    """Reads a model and checks that it fits.

    Args:
        directory: as `save` wrote it.
        weights: of forest, autoencoder and lstm.

    Raises:
        ModelError: files are missing or cannot be read.
        ModelMismatch: the manifest does not fit this code or the files beside it.
    """
    manifest = read_manifest(directory)
    _check_catalogue(directory, manifest)
    ensemble, reference = _parts(directory, _checked_tensors(directory, manifest), weights)
    return Model(ensemble, reference, manifest)


def load_reference(directory: Path = DEFAULT_MODEL) -> Reference:
    """Reads only what the features compare with, for a scorer of one's own; the model need not fit the catalogue.

    Raises:
        ModelError: files are missing or cannot be read.
        ModelMismatch: the files are not those of the manifest.
    """
    data = _checked_tensors(directory, read_manifest(directory))
    try:
        return Reference.from_tensors(_part(tensors_from_bytes(data), "reference"))
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelMismatch(
            f"{directory / TENSOR_FILE}: expected reference tensors in format {FORMAT_VERSION}, got "
            f"{type(error).__name__}: {error}; train a new model"
        ) from None


def _checked_tensors(directory: Path, manifest: Manifest) -> bytes:
    data = _read(directory / TENSOR_FILE)
    expected, came = manifest.files.get(TENSOR_FILE, "no hash"), hashlib.sha256(data).hexdigest()
    if came != expected:
        raise ModelMismatch(
            f"{directory / TENSOR_FILE}: expected the file with SHA-256 {expected[:12]}… of the manifest, got "
            f"{came[:12]}…: the file was changed, cut short, or belongs to another model; "
            "copy the directory again, or train a new model"
        )
    return data


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest alone.

    Raises:
        ModelError: it is missing or cannot be read.
        ModelMismatch: it was written by a newer fraudstream.
    """
    path = directory / MANIFEST_FILE
    data = _read(path)
    found = _decoded(path, data, _Format)
    if found.format_version != FORMAT_VERSION:
        age = "a newer" if found.format_version > FORMAT_VERSION else "an older"
        raise ModelMismatch(
            f"{path}: expected format {FORMAT_VERSION}, got {found.format_version}: the model comes from {age} "
            "fraudstream; use that version, or train a new model with this one"
        )
    return _decoded(path, data, Manifest)


def _check_catalogue(directory: Path, manifest: Manifest) -> None:
    if manifest.catalogue_hash == catalogue_hash():
        return
    missing = [name for name in manifest.features if name not in FEATURE_NAMES]
    added = [name for name in FEATURE_NAMES if name not in manifest.features]
    differences = [
        f"{what} {', '.join(names)}" for what, names in (("without", missing), ("with the new", added)) if names
    ]
    own = [feature.name for feature in OWN_FEATURES if feature.name in added and feature.risk is not None]
    raise ModelMismatch(
        f"{directory / MANIFEST_FILE}: expected a model of the feature catalogue {catalogue_hash()[:12]}…, "
        f"got one of {manifest.catalogue_hash[:12]}…: this code is "
        f"{' and '.join(differences) or 'with other definitions of the same features'}; "
        + (
            f"{', '.join(own)} of your own is a model input: train a model that reads it (`fraudstream train`) and set "
            "MODEL_DIR, declare it with risk=None to keep it out of the models, or uninstall its package"
            if own
            else "train a new model, or use the version of fraudstream that made this one"
        )
    )


def _parts(directory: Path, data: bytes, weights: MemberWeights) -> tuple[Ensemble, Reference]:
    try:
        flat: dict[str, NDArray[Any]] = tensors_from_bytes(data)
        forest = Forest.from_tensors(_part(flat, "forest"))
        autoencoder = Autoencoder.from_tensors(_part(flat, "autoencoder"))
        lstm = Lstm.from_tensors(_part(flat, "lstm"))
        scores, categories = flat["calibration.reference"], flat["calibration.category"]
        reference = Reference.from_tensors(_part(flat, "reference"))
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelMismatch(
            f"{directory / TENSOR_FILE}: expected the tensors of forest, autoencoder, lstm, calibration and reference "
            f"in format {FORMAT_VERSION}, got {type(error).__name__}: {error}; train a new model"
        ) from None
    widest = int(forest.feature.max(initial=0))
    if len(autoencoder.transform.knots) != len(MODEL_INPUTS) or widest >= len(MODEL_INPUTS):
        raise ModelMismatch(
            f"{directory / TENSOR_FILE}: expected members that read {len(MODEL_INPUTS)} model inputs, got "
            f"an autoencoder of {len(autoencoder.transform.knots)} and a forest of {widest + 1} or more; "
            "train a new model"
        )
    return Ensemble(forest, autoencoder, lstm, scores, weights, categories), reference


def _part(flat: dict[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{part}."): array for name, array in flat.items() if name.startswith(f"{part}.")}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: expected a file of a model ({error.strerror}); set MODEL_DIR to a directory made by "
            "`fraudstream train`, or unset it to use the model in the package"
        ) from None


Struct = TypeVar("Struct", bound=msgspec.Struct)


def _decoded(path: Path, data: bytes, kind: type[Struct]) -> Struct:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"{path}: expected a manifest as `fraudstream train` writes it, got one that cannot be read ({error}); "
            "train a new model"
        ) from None


def _library_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
