"""The parameters of a network as arrays, named and shaped as torch does; torch itself is needed for training only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Parameters = Mapping[str, NDArray[Any]]


def checked(member: str, parameters: Parameters, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses parameters of another network.

    Raises:
        ValueError: one is missing, unknown, or has another shape.
    """
    if parameters.keys() != shapes.keys():
        missing, unknown = sorted(shapes.keys() - parameters.keys()), sorted(parameters.keys() - shapes.keys())
        raise ValueError(f"{member}: expected the parameters {sorted(shapes)}, {missing} missing, {unknown} unknown")
    for name, shape in shapes.items():
        if parameters[name].shape != shape:
            raise ValueError(f"{member}: expected {name} of shape {shape}, got {parameters[name].shape}")
