"""The labelled data sets kept beside the checkout in ../shared/data, for tests that want real volumes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def data_set(name: str) -> Path:
    """Path of a file there; without it the test is skipped, or fails where CI is set.

    LABELLED_DATA_OPTIONAL is for a CI that clones the repository alone: the data sets are not in it.
    """
    path = DIRECTORY / name
    if not path.exists():
        reason = f"the labelled data set {name} is not beside the checkout in ../shared/data"
        if os.environ.get("CI") and not os.environ.get("LABELLED_DATA_OPTIONAL"):
            pytest.fail(f"{reason} (CI is set, so it may not be missing)", pytrace=False)
        pytest.skip(reason)
    return path
