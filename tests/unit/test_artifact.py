"""A model on disk comes back as it was, or is refused with a sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from fraudstream.errors import ModelError, ModelMismatch
from fraudstream.features.catalogue import FEATURE_NAMES, catalogue_hash
from fraudstream.score.artifact import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    TENSOR_FILE,
    TrainingFacts,
    load,
    read_manifest,
    save,
)
from fraudstream.score.ensemble import Ensemble
from tests.fitted import small_ensemble, small_stream

FACTS = TrainingFacts(
    first_event_time=datetime(2025, 1, 6, tzinfo=UTC),
    last_event_time=datetime(2025, 3, 7, tzinfo=UTC),
    rows=6000,
    seed=1,
    source="simulated",
    created_at=datetime(2025, 3, 8, 12, tzinfo=UTC),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save(tmp_path / "model", small_ensemble(), small_stream().reference, FACTS)
    return tmp_path / "model"


def rewrite_manifest(directory: Path, **changes: Any) -> None:
    path = directory / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite_tensors(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Other tensors under a manifest that vouches for them."""
    import hashlib

    tensors = tensors_from_bytes((directory / TENSOR_FILE).read_bytes())
    change(tensors)
    data = tensors_to_bytes(tensors)
    (directory / TENSOR_FILE).write_bytes(data)
    rewrite_manifest(directory, files={TENSOR_FILE: hashlib.sha256(data).hexdigest()})


def test_a_loaded_model_gives_the_same_bits(directory: Path) -> None:
    stream, model = small_stream(), load(directory)
    found = model.ensemble.score(stream.features[:700], stream.sequences[:700])
    expected = small_ensemble().score(stream.features[:700], stream.sequences[:700])
    assert found.anomaly.tobytes() == expected.anomaly.tobytes()
    assert found.members.tobytes() == expected.members.tobytes()
    assert found.surprise.tobytes() == expected.surprise.tobytes()


def test_the_manifest_says_what_the_model_was_made_from(directory: Path) -> None:
    manifest = read_manifest(directory)
    assert manifest.training == FACTS
    assert manifest.format_version == FORMAT_VERSION
    assert manifest.catalogue_hash == catalogue_hash()
    assert manifest.features == FEATURE_NAMES
    assert manifest.libraries["torch"].startswith("2.")
    assert load(directory).version == manifest.model_version


def test_equal_models_have_equal_names_and_bytes_and_others_have_others(directory: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", small_ensemble(), small_stream().reference, FACTS)
    for name in (TENSOR_FILE, MANIFEST_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes()
    whole = small_ensemble()
    other = Ensemble(whole.forest, whole.autoencoder, whole.lstm, whole.calibration.reference[1:])
    assert (
        save(tmp_path / "other", other, small_stream().reference, FACTS).model_version
        != read_manifest(directory).model_version
    )


def test_weights_are_chosen_when_the_model_is_loaded(directory: Path) -> None:
    stream, whole = small_stream(), small_ensemble()
    weights = (0.1, 0.2, 0.7)
    found = load(directory, weights).ensemble.score(stream.features[:100], stream.sequences[:100])
    expected = Ensemble(whole.forest, whole.autoencoder, whole.lstm, whole.calibration.reference, weights)
    assert found.anomaly.tobytes() == expected.score(stream.features[:100], stream.sequences[:100]).anomaly.tobytes()


def test_a_newer_model_replaces_an_older_one_in_its_place(directory: Path) -> None:
    whole = small_ensemble()
    other = Ensemble(whole.forest, whole.autoencoder, whole.lstm, whole.calibration.reference[1:])
    made = save(directory, other, small_stream().reference, FACTS)
    assert load(directory).version == made.model_version


@pytest.mark.parametrize("name", [TENSOR_FILE, MANIFEST_FILE])
def test_a_missing_file_is_refused(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ModelError, match=rf"{name}: expected a file of a model .*set MODEL_DIR"):
        load(directory)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="set MODEL_DIR to a directory made by `fraudstream train`"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_tampered_byte_is_refused(directory: Path, at: int) -> None:
    data = bytearray((directory / TENSOR_FILE).read_bytes())
    data[at] ^= 1
    (directory / TENSOR_FILE).write_bytes(data)
    with pytest.raises(ModelMismatch, match="the file was changed, cut short, or belongs to another model"):
        load(directory)


def test_a_file_cut_short_is_refused(directory: Path) -> None:
    data = (directory / TENSOR_FILE).read_bytes()
    (directory / TENSOR_FILE).write_bytes(data[:-100])
    with pytest.raises(ModelMismatch, match="cut short"):
        load(directory)


def test_another_catalogue_is_refused_with_what_differs(directory: Path) -> None:
    features = ["speed_of_light", *FEATURE_NAMES[1:]]
    rewrite_manifest(directory, catalogue_hash="0" * 64, features=features)
    with pytest.raises(ModelMismatch, match=f"this code is without speed_of_light and with the new {FEATURE_NAMES[0]}"):
        load(directory)
    rewrite_manifest(directory, features=FEATURE_NAMES)
    with pytest.raises(ModelMismatch, match="with other definitions of the same features"):
        load(directory)


@pytest.mark.parametrize(("came", "age"), [(FORMAT_VERSION + 1, "a newer"), (0, "an older")])
def test_another_format_is_refused_whatever_else_it_holds(directory: Path, came: int, age: str) -> None:
    rewrite_manifest(directory, format_version=came, something_new=[1, 2])
    with pytest.raises(
        ModelMismatch, match=f"expected format {FORMAT_VERSION}, got {came}: the model comes from {age}"
    ):
        load(directory)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"format_version": "one"}',
        b'{"format_version": %d}' % FORMAT_VERSION,
        b'{"note": "\xff"}',
        b'{"note": ' + b"[" * 5_000,
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(directory: Path, data: bytes) -> None:
    (directory / MANIFEST_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"manifest.json: expected a manifest as `fraudstream train` writes it"):
        load(directory)


def test_a_missing_tensor_is_refused(directory: Path) -> None:
    rewrite_tensors(directory, lambda tensors: tensors.pop("autoencoder.layers.0.weight"))
    with pytest.raises(ModelMismatch, match=r"tensors of forest, autoencoder, lstm, calibration and reference"):
        load(directory)


def test_a_tensor_of_another_shape_is_refused(directory: Path) -> None:
    def narrower(tensors: dict[str, Any]) -> None:
        tensors["lstm.amount.weight"] = np.ascontiguousarray(tensors["lstm.amount.weight"][:, 1:])

    rewrite_tensors(directory, narrower)
    with pytest.raises(ModelMismatch, match=r"expected amount\.weight of shape"):
        load(directory)


def test_reference_rows_keep_their_categories(directory: Path) -> None:
    found, expected = load(directory).ensemble.reference_categories, small_ensemble().reference_categories
    assert found.tobytes() == expected.tobytes()
    assert len(np.unique(found)) > 5


def test_a_category_too_few_is_refused(directory: Path) -> None:
    def shorter(tensors: dict[str, Any]) -> None:
        tensors["calibration.category"] = tensors["calibration.category"][1:]

    rewrite_tensors(directory, shorter)
    with pytest.raises(ModelError, match=r"a category of each of the 6,000 reference rows, .*train a new model"):
        load(directory)


def test_a_forest_that_looks_at_inputs_that_are_not_there_is_refused(directory: Path) -> None:
    def wider(tensors: dict[str, Any]) -> None:
        tensors["forest.feature"] = tensors["forest.feature"] + np.int16(100)

    rewrite_tensors(directory, wider)
    with pytest.raises(ModelMismatch, match="a forest of"):
        load(directory)


def test_nothing_is_ever_unpickled(directory: Path) -> None:
    import pickle

    (directory / TENSOR_FILE).write_bytes(pickle.dumps({"forest": 1}))
    with pytest.raises(ModelMismatch):
        load(directory)
    assert sorted(path.name for path in directory.iterdir()) == [MANIFEST_FILE, TENSOR_FILE]
