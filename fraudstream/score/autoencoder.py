"""A small tanh autoencoder on the inputs' surprise; what it cannot reconstruct from usual surprise is unusual.

The encoder sees inputs capped at a training quantile, the residual is taken against the uncapped ones: else the
network learns to reconstruct correlated extremes, which are just what a fraud looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.score.autoencoder_kernel import AutoencoderWeights, residuals_of, shapes_of, weights_of
from fraudstream.score.parameters import Parameters, checked
from fraudstream.score.transform import TailTransform


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoder:
    """The transform and the network behind it, `fraudstream.training.networks.AutoencoderNetwork`.

    Raises:
        ValueError: the parameters are not those of such a network.
    """

    transform: TailTransform
    parameters: Parameters = field(repr=False)
    _weights: AutoencoderWeights = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked("autoencoder", self.parameters, shapes_of(len(self.transform.knots)))
        object.__setattr__(self, "_weights", weights_of(self.parameters))

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
        return {"transform": self.transform.knots, **self.parameters}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Autoencoder:
        """The reverse of `tensors`."""
        parameters = dict(tensors)
        return cls(TailTransform(parameters.pop("transform")), parameters)
