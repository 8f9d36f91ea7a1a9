"""Features of one's own: how they are declared, found and computed; the built-in ones stand in definitions.py.

A feature is found by its entry point (group `fraudstream.features`) or registered by the program, before the catalogue
is made: names, model inputs, the model's fingerprint and the documents all follow from the catalogue, so it cannot
change in a process any more. This room must not import the catalogue.
"""

from __future__ import annotations

import logging
import math
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import numpy as np
from numpy.typing import NDArray

from fraudstream.errors import FeatureError
from fraudstream.features.definitions import CATALOGUE as BUILT_IN
from fraudstream.features.definitions import Feature
from fraudstream.features.past import Event, History

GROUP = "fraudstream.features"
"""Entry points of this group name an `OwnFeature` or a sequence of them."""

LONGEST_WINDOW_S = 30 * 86_400
"""A profile holds no longer past for certain."""

MAY_SAY = frozenset({"value", "times", "share", "amount"})
"""What the sentence of a feature of one's own may be filled in with."""

log = logging.getLogger(__name__)

Compute = Callable[[Event, History], float]
Oracle = Callable[[Event, Sequence[Event]], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnFeature(Feature):
    """A feature of one's own: declared as those of the catalogue, and how it is computed.

    Attributes:
        compute: from an event and the user's earlier ones in the window (t - window_s, t], oldest first; a pure
            function that reads nothing else. What it raises, and a value that is no finite number, counts as 0, and
            the verdict names the feature under `degraded`.
        oracle: the same by the plainest means, from the event and all of the user's earlier ones, however old; only
            `fraudstream.testing.check_feature` calls it, to hold `compute` equal to it.
        window_s: how far back it looks, at most 30 days. A profile keeps at most 256 events.

    Raises:
        FeatureError: something of it cannot be; says what.
    """

    compute: Compute
    oracle: Oracle
    window_s: int = LONGEST_WINDOW_S

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise FeatureError(f"feature {self.name!r}: {problem}")


def _problems(feature: OwnFeature) -> Iterable[str]:
    if not (feature.name.isidentifier() and feature.name == feature.name.lower()):
        yield "name: expected lower-case letters, digits and underscores, such as merchant_tempo"
    if any(feature.name == other.name for other in BUILT_IN):
        yield "name: the catalogue has a feature of this name; choose another"
    for field in ("unit", "formula", "doc", "reason"):
        if not getattr(feature, field):
            yield f"{field}: expected a text, got an empty one"
    for field in ("compute", "oracle"):
        if not callable(getattr(feature, field)):
            yield f"{field}: expected a function, got {type(getattr(feature, field)).__name__}"
    if not 1 <= feature.window_s <= LONGEST_WINDOW_S:
        yield f"window_s: expected 1 to {LONGEST_WINDOW_S} (30 days), got {feature.window_s}"
    if feature.weight < 1:
        yield f"weight: expected 1 or more, got {feature.weight}"
    yield from _problems_of_says(feature)


def _problems_of_says(feature: OwnFeature) -> Iterable[str]:
    if feature.risk is not None and not feature.says:
        yield "says: expected the sentence of its reason, because `risk` is set; or set risk=None"
    try:
        said = {name for _, name, _, _ in string.Formatter().parse(feature.says) if name is not None}
    except ValueError as error:
        yield f"says: expected a format string, got {feature.says!r} ({error})"
    else:
        if said - MAY_SAY:
            yield f"says: expected {{{'}, {'.join(sorted(MAY_SAY))}}} at most, got {{{'}, {'.join(sorted(said))}}}"


class _Registry:
    """What was registered, until the catalogue is made from it."""

    def __init__(self) -> None:
        self.known: dict[str, OwnFeature] = {}
        self.is_frozen = False


_registry = _Registry()


def register_features(features: Iterable[OwnFeature]) -> None:
    """Adds features to the catalogue of this process; those that are in it already are fine.

    Raises:
        FeatureError: the catalogue is made already and lacks one of them, or another feature has its name.
    """
    for feature in features:
        if not isinstance(feature, OwnFeature):
            raise FeatureError(f"features: expected OwnFeature objects, got {type(feature).__name__}")
        known = _registry.known.get(feature.name)
        if known is feature:
            continue
        if known is not None:
            raise FeatureError(
                f"feature {feature.name!r}: expected one feature of this name, got a second; is the package that "
                "declares it installed, and imported a second time from a file?"
            )
        if _registry.is_frozen:
            raise FeatureError(
                f"feature {feature.name!r}: the catalogue of this process is made already, without it. Install its "
                f"package with an entry point in the group {GROUP!r}, so that every process finds it; or call "
                "fraudstream.register_features(...) first thing in the program, before a model is loaded"
            )
        _registry.known[feature.name] = feature


def all_features() -> tuple[OwnFeature, ...]:
    """Every feature of one's own, by name; from now on none can be added to this process.

    Raises:
        FeatureError: an entry point cannot be loaded, or gives something else.
    """
    if not _registry.is_frozen:
        for found in entry_points(group=GROUP):
            register_features(_load(found))
        _registry.is_frozen = True
    return tuple(_registry.known[name] for name in sorted(_registry.known))


def _load(found: EntryPoint) -> Sequence[OwnFeature]:
    origin = f"entry point {found.name} = {found.value} of {found.dist.name if found.dist else 'an unknown package'}"
    try:
        loaded = found.load()
    except FeatureError:
        raise
    except Exception as error:
        raise FeatureError(
            f"{origin}: expected a feature, importing it failed ({type(error).__name__}: {error}); "
            "mend or uninstall the package"
        ) from error
    features = [loaded] if isinstance(loaded, Feature) else loaded
    own = [one for one in features if isinstance(one, OwnFeature)] if isinstance(features, Sequence) else []
    if not own or len(own) != len(features):
        raise FeatureError(f"{origin}: expected an OwnFeature or a sequence of them, got {type(loaded).__name__}")
    return own


class OwnColumns:
    """Computes features of one's own for the events of a micro-batch.

    Args:
        features: in the order of their columns.
    """

    def __init__(self, features: Sequence[OwnFeature]) -> None:
        self.features = tuple(features)
        self._complained: set[str] = set()

    def __call__(
        self, events: NDArray[np.uint32], pasts: NDArray[np.uint32], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.bool_]]]:
        """Their columns, and of those that failed in which rows.

        Args:
            events: (n, EVENT_WORDS) packed transactions.
            pasts: (m, EVENT_WORDS) the earlier ones of each event, oldest first, one event's after the other's.
            ends: (n,) where each event's end in `pasts`.
        """
        columns = np.zeros((len(events), len(self.features)), np.float32)
        failed: dict[str, NDArray[np.bool_]] = {}
        start = 0
        pasts.flags.writeable = False  # what one feature reads another must not have changed
        for row, end in enumerate(ends.tolist()):
            event, past = Event(events[row]), pasts[start:end]
            start = end
            for at, feature in enumerate(self.features):
                value = self._value(feature, event, past)
                if value is None:
                    failed.setdefault(feature.name, np.zeros(len(events), np.bool_))[row] = True
                else:
                    columns[row, at] = value
        return columns, failed

    def _value(self, feature: OwnFeature, event: Event, past: NDArray[np.uint32]) -> np.float32 | None:
        try:
            with np.errstate(over="ignore"):
                value = np.float32(feature.compute(event, History.of(past, event.time_s - feature.window_s)))
        except Exception as error:  # whatever it is: one feature must not stop the stream
            self._complain(feature.name, f"{type(error).__name__}: {error}")
            return None
        if not math.isfinite(value):
            self._complain(feature.name, f"expected a finite number, got {value}")
            return None
        return value

    def _complain(self, name: str, reason: str) -> None:
        """Once for each feature: every verdict without it carries its name anyway."""
        if name not in self._complained:
            self._complained.add(name)
            log.warning("feature %s failed, counts as 0 and is named in the verdicts: %s", name, reason)
