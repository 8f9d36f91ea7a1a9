"""Fits the ensemble to a stream of features; no label is read here, and the same seed gives the same model.

Reads from top to bottom: sample, forest, autoencoder, LSTM, reference scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from torch import nn
from torch.nn import functional

from fraudstream.errors import ModelError
from fraudstream.features.catalogue import INPUT_WEIGHTS, model_inputs
from fraudstream.features.engine import SEQUENCE_CATEGORY
from fraudstream.score.autoencoder import Autoencoder
from fraudstream.score.calibration import MemberWeights
from fraudstream.score.ensemble import DEFAULT_WEIGHTS, Ensemble
from fraudstream.score.forest import Forest
from fraudstream.score.lstm import MAX_CATEGORIES, Lstm
from fraudstream.score.lstm_kernel import AMOUNT_BINS, HIDDEN
from fraudstream.score.steps import GAP, HOUR_COS, HOUR_SIN, StepEncoder, Steps
from fraudstream.score.transform import TailTransform
from fraudstream.training.convert import from_sklearn
from fraudstream.training.networks import AutoencoderNetwork, LstmNetwork, parameters_of

FIT_ROWS = 100_000
REFERENCE_ROWS = 40_000
FEWEST_ROWS = 500

TREES, TREE_ROWS = 100, 512
"""A tree can only cut where its rows differ: of 256, most trees would see none with evidence that is rare."""

AUTOENCODER_EPOCHS = 6
AUTOENCODER_RATE = 2e-3
DROPPED_SHARE = 0.02
"""The most surprising rows are not learnt: among them are the frauds."""
CAP_QUANTILE = 0.9

LSTM_EPOCHS = 3
LSTM_RATE = 3e-3
SURPRISE_QUANTILE = 0.9
HOURS, GAP_BINS = 24, 22

MINIBATCH = 512

Network = TypeVar("Network", bound=nn.Module)

_SEEDING = Lock()

Progress = Callable[[str, float], None]
"""Called with the name of a step and how much of it is done, 0 to 1."""


def fit(
    features: NDArray[np.float32],
    sequences: NDArray[np.uint32],
    seed: int,
    progress: Progress | None = None,
    weights: MemberWeights = DEFAULT_WEIGHTS,
) -> Ensemble:
    """Fits all three members and their calibration.

    Args:
        features: (n, FEATURE_COUNT) of a replay, best without the first month, in which every user is new.
        sequences: (n, SEQUENCE_STEPS, SEQUENCE_COLUMNS) of the same rows.
        seed: same seed and rows, same model.
        progress: told how far it is.
        weights: of the members; may be changed when the model is loaded.

    Raises:
        ModelError: there are too few rows.
    """
    if len(features) < FEWEST_ROWS:
        raise ModelError(
            f"expected at least {FEWEST_ROWS} transactions to learn from, got {len(features)}; use a longer stream"
        )
    torch.set_num_threads(1)
    tell = progress or _silence
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(len(features), min(len(features), FIT_ROWS), replace=False))
    inputs = model_inputs(features[rows])

    forest = fit_forest(inputs, seed)
    tell("forest", 1.0)
    autoencoder = fit_autoencoder(inputs, seed, tell)
    lstm = fit_lstm(sequences[rows], seed, tell)

    chosen = np.sort(random.choice(len(features), min(len(features), REFERENCE_ROWS), replace=False))
    scored, steps = model_inputs(features[chosen]), sequences[chosen]
    reference = np.stack([forest.score(scored), autoencoder.score(scored)[0], lstm.score(steps)], axis=1)
    tell("calibration", 1.0)
    return Ensemble(forest, autoencoder, lstm, reference, weights, steps[:, -1, SEQUENCE_CATEGORY])


def fit_forest(inputs: NDArray[np.float32], seed: int) -> Forest:
    """An Isolation Forest on the inputs (n, k) as they are; one of weight w is w columns, so it is chosen w times."""
    columns = np.repeat(np.arange(inputs.shape[1]), INPUT_WEIGHTS)
    forest = IsolationForest(n_estimators=TREES, max_samples=min(TREE_ROWS, len(inputs)), random_state=seed)
    return from_sklearn(forest.fit(inputs[:, columns]), columns)


def fit_autoencoder(inputs: NDArray[np.float32], seed: int, tell: Progress) -> Autoencoder:
    """An autoencoder on the surprise of the inputs (n, k), learnt from capped values of the usual rows."""
    transform = TailTransform.fit(inputs)
    surprise = transform(inputs)
    total = surprise.sum(axis=1)
    usual = torch.from_numpy(surprise[total <= np.quantile(total, 1.0 - DROPPED_SHARE)])

    network, random = _seeded(seed, lambda: AutoencoderNetwork(inputs.shape[1]))
    network.weight.copy_(torch.from_numpy(INPUT_WEIGHTS.astype(np.float32)))
    network.cap.copy_(torch.from_numpy(np.quantile(usual.numpy(), CAP_QUANTILE, axis=0).astype(np.float32)))
    optimiser = torch.optim.Adam(network.parameters())
    for part, done in _minibatches(len(usual), AUTOENCODER_EPOCHS, random):
        target = torch.minimum(usual[part], network.cap)
        loss = functional.mse_loss(network(target), target)
        _step(optimiser, loss, AUTOENCODER_RATE, done)
        tell("autoencoder", done)
    tell("autoencoder", 1.0)
    return Autoencoder(transform, parameters_of(network))


class LstmTask(nn.Module):
    """What the LSTM learns from: the next step's amount, and, only to learn a better state, category, hour and gap."""

    def __init__(self, network: LstmNetwork) -> None:
        super().__init__()
        self.network = network
        self.category = nn.Linear(HIDDEN, network.categories.num_embeddings)
        self.hour = nn.Linear(HIDDEN, HOURS)
        self.gap = nn.Linear(HIDDEN, GAP_BINS)

    def forward(
        self, numbers: torch.Tensor, category: torch.Tensor, targets: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        """Mean negative log likelihood of the steps that are there.

        Args:
            numbers: (rows, steps, STEP_NUMBERS).
            category: (rows, steps).
            targets: (4, rows, steps - 1) bin of amount, category, hour and gap.
            there: (rows, steps - 1).
        """
        history, amount = self.network(numbers, category)
        guesses = (amount, self.category(history), self.hour(history), self.gap(history))
        losses = [
            functional.cross_entropy(guess[there], target[there])
            for guess, target in zip(guesses, targets, strict=True)
        ]
        return torch.stack(losses).sum()


def fit_lstm(sequences: NDArray[np.uint32], seed: int, tell: Progress) -> Lstm:
    """An LSTM on sequences (n, steps, SEQUENCE_COLUMNS)."""
    encoder = StepEncoder.fit(sequences, MAX_CATEGORIES, AMOUNT_BINS)
    steps = encoder(sequences)
    numbers, category = torch.from_numpy(steps.numbers), torch.from_numpy(steps.category)
    targets = torch.from_numpy(_targets(steps))
    there = torch.from_numpy(steps.age_s[:, 1:] >= 0)

    task, random = _seeded(seed, lambda: LstmTask(LstmNetwork(len(encoder.vocabulary))))
    optimiser = torch.optim.Adam(task.parameters())
    for part, done in _minibatches(len(sequences), LSTM_EPOCHS, random):
        loss = task(numbers[part], category[part], targets[:, part], there[part])
        _step(optimiser, loss, LSTM_RATE, done)
        tell("lstm", done)

    parameters = parameters_of(task.network)
    untuned = Lstm(encoder, parameters, threshold=0.0)
    surprise, _ = untuned.surprise(sequences)
    tell("lstm", 1.0)
    return Lstm(encoder, parameters, float(np.quantile(surprise[:, -1], SURPRISE_QUANTILE)))


def _silence(_step: str, _done: float) -> None:
    """Progress for whoever wants none."""


def _targets(steps: Steps) -> NDArray[np.int64]:
    amount = np.clip(np.floor(steps.amount_bin), 0, AMOUNT_BINS - 1)
    angle = np.arctan2(steps.numbers[..., HOUR_SIN], steps.numbers[..., HOUR_COS])
    hour = np.floor(np.mod(angle, 2 * np.pi) * (HOURS / (2 * np.pi))) % HOURS
    # Standardised gaps: three deviations to either side hold nearly all.
    gap = np.clip(np.floor((steps.numbers[..., GAP] + 3.0) * (GAP_BINS / 6.0)), 0, GAP_BINS - 1)
    return np.stack([amount, steps.category, hour, gap])[:, :, 1:].astype(np.int64)


def _seeded(seed: int, make: Callable[[], Network]) -> tuple[Network, torch.Generator]:
    """A network whose first weights this seed draws, and what goes on drawing from there for this fit alone.

    New layers draw from the generator of the whole process, which another thread's fit may use as well.
    """
    with _SEEDING:
        torch.manual_seed(seed)
        network = make()
        return network, torch.Generator().set_state(torch.get_rng_state())


def _minibatches(rows: int, epochs: int, random: torch.Generator) -> Iterator[tuple[torch.Tensor, float]]:
    """Rows in random order, epoch by epoch, and the share of all minibatches done before this one."""
    per_epoch = max(rows // MINIBATCH, 1)
    for epoch in range(epochs):
        order = torch.randperm(rows, generator=random)
        for at in range(per_epoch):
            yield order[at * MINIBATCH : (at + 1) * MINIBATCH], (epoch * per_epoch + at) / (epochs * per_epoch)


def _step(optimiser: torch.optim.Optimizer, loss: torch.Tensor, rate: float, done: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * done))
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
