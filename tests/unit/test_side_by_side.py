"""Members that are fitted side by side are those that are fitted one after the other, and stop when nobody waits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fraudstream.training import members
from fraudstream.training.side_by_side import Stopped, fits
from tests.fitted import small_stream

SEED = 5
NAMES = list(members.MEMBER_FITS)


@cache
def sample() -> members.Sample:
    stream = small_stream()
    return members.draw(stream.features, stream.sequences, np.arange(len(stream)), SEED)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], NAMES[1:]])
def test_a_member_has_the_same_bits_whoever_is_fitted_beside_it(names: list[str]) -> None:
    shares: dict[str, list[float]] = {name: [] for name in names}
    with fits(sample(), SEED, names) as running:
        found = {name: running.result(name, shares[name].append)[0] for name in names}
    for name in names:
        expected = members.MEMBER_FITS[name](sample(), SEED, lambda _share: None)
        assert expected.keys() == found[name].keys()
        for part, tensor in expected.items():
            assert tensor.tobytes() == found[name][part].tobytes(), f"{name}: {part}"
        assert shares[name] == sorted(shares[name])
        assert shares[name][-1] == 1.0


def test_a_fit_that_nobody_waits_for_stops_at_its_next_minibatch() -> None:
    with pytest.raises(KeyboardInterrupt), fits(sample(), SEED, ["lstm"]) as running:
        raise KeyboardInterrupt
    with pytest.raises(Stopped):
        running.result("lstm", lambda _share: None)


def test_what_goes_wrong_in_a_fit_is_told_to_who_waits_for_it() -> None:
    nothing = members.Sample(*(array[:0] for array in (sample().inputs, sample().sequences) * 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Got 0 instead"), fits(nothing, SEED, ["forest"]) as running:
        running.result("forest", lambda _share: None)
