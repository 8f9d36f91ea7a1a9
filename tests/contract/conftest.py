"""Fixtures of the tests that read what helm makes of the chart."""

from __future__ import annotations

import pytest

from tests.chart import VARIANTS, Rendered, helm_path, render
from tests.conftest import missing


@pytest.fixture(scope="session")
def helm() -> None:
    """helm is there, or the test is not run."""
    if helm_path() is None:
        missing("helm is neither in .tools/bin (`make tools`) nor on the PATH")


@pytest.fixture(scope="session", params=VARIANTS)
def rendered(request: pytest.FixtureRequest, helm: None) -> Rendered:
    """The chart with each set of values in turn."""
    return render(**VARIANTS[request.param])
