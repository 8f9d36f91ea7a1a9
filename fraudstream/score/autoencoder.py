"""A small tanh autoencoder on the inputs' surprise; what it cannot reconstruct from usual surprise is unusual.

The encoder sees inputs capped at a training quantile, the residual is taken against the uncapped ones: else the
network learns to reconstruct correlated extremes, which are just what a fraud looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fraudstream.score.blocks import block_tensors, padded
from fraudstream.score.transform import TailTransform

WIDE, NARROW = 24, 4


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

    def score(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Anomaly score of each row, and what each input has to do with it.

        Args:
            inputs: (n, k) model inputs.

        Returns:
            (n,) mean of the weighted squared positive residuals, and (n, k) these.
        """
        surprise = padded(self.transform(inputs))
        residual = np.empty_like(surprise)
        scores = np.empty(len(surprise))
        with torch.inference_mode():
            for rows, (block,) in block_tensors(surprise):
                # No surprise is less than none: what does not surprise has no residual, and so is no reason.
                expected = self.network(block).clamp_(min=0.0)
                excess = (block - expected).clamp_(min=0.0).square_().mul_(self.network.weight)
                residual[rows] = excess.numpy()
                scores[rows] = excess.mean(1).numpy()
        return scores[: len(inputs)], residual[: len(inputs)]

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
