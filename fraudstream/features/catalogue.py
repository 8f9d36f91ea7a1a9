"""What is made from the feature catalogue: names, the models' inputs, the fingerprint, the table in the docs."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from fraudstream.features import own
from fraudstream.features.definitions import CATALOGUE as BUILT_IN
from fraudstream.features.definitions import Feature

__all__ = ["CATALOGUE", "Feature", "catalogue_hash", "index_of", "markdown_table", "model_inputs"]

OWN_FEATURES: tuple[own.OwnFeature, ...] = own.all_features()
"""Features of one's own, found when this module is imported; they stand behind the built-in ones."""
CATALOGUE: tuple[Feature, ...] = (*BUILT_IN, *OWN_FEATURES)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in CATALOGUE)
MODEL_INPUTS: tuple[Feature, ...] = tuple(feature for feature in CATALOGUE if feature.risk is not None)

_INPUT_COLUMNS = np.array([FEATURE_NAMES.index(feature.name) for feature in MODEL_INPUTS])
_LOG_COLUMNS = np.array([at for at, feature in enumerate(MODEL_INPUTS) if feature.scale == "log1p"])
INPUT_WEIGHTS = np.array([feature.weight for feature in MODEL_INPUTS])
"""(len(MODEL_INPUTS),) how many inputs each counts for."""
_SIGNS = np.array([-1.0 if feature.risk == "low" else 1.0 for feature in MODEL_INPUTS], np.float32)


def index_of(name: str) -> int:
    """Column of a feature in the matrix.

    Raises:
        KeyError: there is no such feature.
    """
    try:
        return FEATURE_NAMES.index(name)
    except ValueError:
        raise KeyError(f"expected one of the {len(CATALOGUE)} features of the catalogue, got {name!r}") from None


def model_inputs(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the models see: the features with a risk side, scaled, turned so that high is suspicious.

    Args:
        features: (n, len(CATALOGUE)) as the kernel gives them.

    Returns:
        (n, len(MODEL_INPUTS)), C order.
    """
    inputs = np.ascontiguousarray(features[:, _INPUT_COLUMNS])
    inputs[:, _LOG_COLUMNS] = np.log1p(inputs[:, _LOG_COLUMNS])
    inputs *= _SIGNS
    return inputs


def catalogue_hash() -> str:
    """Fingerprint of what the models see; a model trained on another catalogue is refused. Wording may change.

    Features of one's own that are no model inputs do not count: with them, a model means what it meant without.
    """
    seen = [
        (feature.name, feature.unit, feature.formula, feature.risk, feature.scale, feature.weight)
        for feature in CATALOGUE
        if feature in BUILT_IN or feature.risk is not None
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def markdown_table() -> str:
    """The catalogue as a Markdown table, for docs/features.md."""
    rows = [f"| `{feature.name}` | {feature.unit} | {feature.formula} | {feature.doc} |" for feature in CATALOGUE]
    return "\n".join(["| feature | unit | formula | meaning |", "|---|---|---|---|", *rows]) + "\n"
