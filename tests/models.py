"""Models for tests of what handles models: equal in use, cheap to make, different in name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from fraudstream.score.artifact import DEFAULT_MODEL, MANIFEST_FILE, TENSOR_FILE


def other_model(directory: Path, number: int = 1) -> Path:
    """The packaged model with other reference scores: every number gives a version of its own; returns `directory`."""
    shutil.copytree(DEFAULT_MODEL, directory)
    tensors = tensors_from_bytes((directory / TENSOR_FILE).read_bytes())
    reference = tensors["calibration.reference"]
    tensors["calibration.reference"] = (reference * (1.0 + 0.05 * number)).astype(reference.dtype)
    data = tensors_to_bytes({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    (directory / TENSOR_FILE).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    manifest = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["files"][TENSOR_FILE] = digest
    manifest["model_version"] = f"m-{digest[:12]}"
    (directory / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")
    return directory
