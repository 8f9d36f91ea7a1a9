"""How the recipe calls the fit of each member: one function a step, each from arrays to what an artifact keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fraudstream.features.catalogue import model_inputs
from fraudstream.features.engine import SEQUENCE_CATEGORY
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.ensemble import Ensemble
from fraudstream.score.forest import Forest
from fraudstream.score.lstm import Lstm
from fraudstream.training import fit
from fraudstream.training.unfinished import Arrays

Done = Callable[[float], None]
"""Called with the share of a step that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows that are learnt from, and rows whose scores become the reference.

    Attributes:
        inputs: (m, k) model inputs to fit to.
        sequences: (m, SEQUENCE_STEPS, SEQUENCE_COLUMNS) of the same rows.
        reference_inputs: (r, k).
        reference_sequences: (r, SEQUENCE_STEPS, SEQUENCE_COLUMNS).
    """

    inputs: NDArray[np.float32]
    sequences: NDArray[np.uint32]
    reference_inputs: NDArray[np.float32]
    reference_sequences: NDArray[np.uint32]


def draw(features: NDArray[np.float32], sequences: NDArray[np.uint32], rows: NDArray[np.int64], seed: int) -> Sample:
    """Draws both samples among the rows; the same seed draws the same."""
    random = np.random.default_rng(seed)
    learnt, reference = (
        rows[np.sort(random.choice(len(rows), min(len(rows), most), replace=False))]
        for most in (fit.FIT_ROWS, fit.REFERENCE_ROWS)
    )
    return Sample(
        model_inputs(features[learnt]), sequences[learnt], model_inputs(features[reference]), sequences[reference]
    )


def forest(sample: Sample, seed: int, done: Done) -> Arrays:
    """The tensors of the fitted forest."""
    fitted = fit.fit_forest(sample.inputs, seed)
    done(1.0)
    return fitted.tensors()


def autoencoder(sample: Sample, seed: int, done: Done) -> Arrays:
    """The tensors of the fitted autoencoder."""
    torch.set_num_threads(1)  # sums in the same order on every machine
    return fit.fit_autoencoder(sample.inputs, seed, lambda _, share: done(share)).tensors()


def lstm(sample: Sample, seed: int, done: Done) -> Arrays:
    """The tensors of the fitted LSTM."""
    torch.set_num_threads(1)
    return fit.fit_lstm(sample.sequences, seed, lambda _, share: done(share)).tensors()


MEMBER_FITS: dict[str, Callable[[Sample, int, Done], Arrays]] = {
    "forest": forest,
    "autoencoder": autoencoder,
    "lstm": lstm,
}
"""Each member and its fit, in the order of `fraudstream.score.ensemble.MEMBERS`."""


def calibrate(members: dict[str, Arrays], sample: Sample) -> Ensemble:
    """The ensemble of the fitted members, with their scores of the reference rows."""
    torch.set_num_threads(1)
    trees = Forest.from_tensors(members["forest"])
    network = Autoencoder.from_tensors(members["autoencoder"])
    recurrent = Lstm.from_tensors(members["lstm"])
    scores = (
        trees.score(sample.reference_inputs),
        network.score(sample.reference_inputs)[0],
        recurrent.score(sample.reference_sequences),
    )
    categories = sample.reference_sequences[:, -1, SEQUENCE_CATEGORY]
    return Ensemble(trees, network, recurrent, np.stack(scores, axis=1), reference_categories=categories)
