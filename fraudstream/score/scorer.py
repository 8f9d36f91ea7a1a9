"""What a model of one's own must be, and how one is found by its name; no model, no torch and no catalogue enters here.

`fraudstream.testing.check_scorer` holds a scorer to what is promised here; the built-in ensemble passes it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import ModelError

GROUP = "fraudstream.scorers"
"""Entry points of this group name a function that takes the settings and gives a `Scorer`."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a scorer says about n transactions.

    Attributes:
        anomaly: (n,) share of ordinary traffic that is less unusual, 0 to 1. With CONTAMINATION=0.1, what lies above
            0.9 is flagged; a `RankTable` of scores of ordinary traffic makes shares of any score.
        evidence: (n, len(needs)) how much each feature has to do with the score, 0 or more, on any scale; the reasons
            of a verdict share the score out in its proportion. None: the reasons name no feature.
        degraded: part of the scorer -> (n,) for which transactions it failed and was left out of the score.
    """

    anomaly: NDArray[np.float64]
    evidence: NDArray[np.float64] | None = None
    degraded: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


class Scorer(Protocol):
    """A model in the place of the built-in ensemble.

    A transaction that is delivered again must get the same verdict, byte for byte. So a score depends on nothing but
    its own row: not on the batch, not on the rows before, not on a clock or a random number.
    """

    @property
    def name(self) -> str:
        """Of the kind of model; with the version it is the verdicts' model_version."""
        ...

    @property
    def version(self) -> str:
        """Another one whenever a score may differ."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the catalogue's features that it reads, in the order of its columns."""
        ...

    def score(self, features: NDArray[np.float32], sequences: NDArray[np.uint32]) -> Scored:
        """Scores a batch of any size, none included.

        Args:
            features: (n, len(needs)).
            sequences: (n, 11, 3) event time in s, cents and category hash of the transaction (last) and of the ten
                before it, oldest first; a time of 0 marks a step that is not there.

        Raises:
            ModelError: the arrays have another shape, or it cannot score at all. A worker then stops and, when it is
                started again, goes on with the same transactions; so leave out the part that failed where one can.
        """
        ...


def find_scorer(name: str, settings: Any) -> Scorer:
    """The scorer of this name among the installed packages.

    Raises:
        ModelError: there is none, or two, or it cannot be made.
    """
    found = entry_points(group=GROUP)
    chosen = [one for one in found if one.name == name]
    if len(chosen) != 1:
        known = ", ".join(sorted({one.name for one in found})) or "none"
        raise ModelError(
            f"SCORER={name}: expected one installed package with this entry point in the group {GROUP!r}, "
            f"got {len(chosen)} (known: {known}); install it, or unset SCORER to use the built-in ensemble"
        )
    try:
        make: Callable[[Any], Scorer] = chosen[0].load()
        return make(settings)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"SCORER={name}: expected {chosen[0].value} to make a scorer from the settings, "
            f"it failed ({type(error).__name__}: {error})"
        ) from error
