"""Every snippet of docs/library.md does what the page says."""

from __future__ import annotations

import doctest

import pytest

from tests.checkout import ROOT

PAGE = ROOT / "docs" / "library.md"


@pytest.mark.slow
@pytest.mark.usefixtures("plain_environment", "embedded_broker")
def test_every_snippet_of_the_tutorial_runs_as_it_says() -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=options)
    assert failed == 0
    assert tried > 25
