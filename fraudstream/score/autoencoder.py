"""A small tanh autoencoder on the inputs' surprise; what it cannot reconstruct from usual surprise is unusual.

The encoder sees inputs capped at a training quantile, the residual is taken against the uncapped ones: else the
network learns to reconstruct correlated extremes, which are just what a fraud looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fraudstream.score.autoencoder_kernel import NARROW, WIDE, AutoencoderWeights, residuals_of, weights_of
from fraudstream.score.transform import TailTransform


class AutoencoderNetwork(nn.Module):
    """inputs - 24 - 4 - 24 - inputs, tanh between.

    Args:
        inputs: number of model inputs.
    """

    cap: torch.Tensor
    weight: torch.Tensor
    """How much each input's residual counts."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, WIDE), nn.Tanh(),
            nn.Linear(WIDE, NARROW), nn.Tanh(),
            nn.Linear(NARROW, WIDE), nn.Tanh(),
            nn.Linear(WIDE, inputs),
        )  # fmt: skip
        self.register_buffer("cap", torch.full((inputs,), torch.inf))
        self.register_buffer("weight", torch.ones(inputs))

    def forward(self, surprise: torch.Tensor) -> torch.Tensor:
        """Reconstruction of (rows, inputs) from their capped values."""
        reconstruction: torch.Tensor = self.layers(torch.minimum(surprise, self.cap))
        return reconstruction


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoder:
    """The transform and the network behind it."""

    transform: TailTransform
    network: AutoencoderNetwork
    _weights: AutoencoderWeights = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_weights", weights_of(self.network))

    def score(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Anomaly score of each row, and what each input has to do with it.

        Args:
            inputs: (n, k) model inputs.

        Returns:
            (n,) mean of the weighted squared positive residuals, and (n, k) these.
        """
        surprise = self.transform(inputs)
        residual, scores = np.empty_like(surprise), np.empty(len(surprise))
        residuals_of(surprise, *self._weights, residual, scores)
        return scores, residual

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps."""
        return {"transform": self.transform.knots, **network_tensors(self.network)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Autoencoder:
        """The reverse of `tensors`."""
        tensors = dict(tensors)
        transform = TailTransform(tensors.pop("transform"))
        network = AutoencoderNetwork(len(transform.knots))
        load_network(network, tensors)
        return cls(transform, network)


def network_tensors(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Parameters and buffers of a network as arrays, named as torch names them."""
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def load_network(network: nn.Module, tensors: dict[str, NDArray[Any]]) -> None:
    """Fills a network and makes it ready for scoring.

    Raises:
        RuntimeError: a tensor is missing, unknown, or has another shape.
    """
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
    network.eval().requires_grad_(requires_grad=False)
