"""Pages made from code are up to date, and the README names every setting."""

from __future__ import annotations

from pathlib import Path

from fraudstream.settings import Settings
from scripts.make_docs import FEATURES_PAGE, features_page

ROOT = Path(__file__).resolve().parents[2]
NOT_YET_USED = {"redis_host"}


def test_the_feature_page_is_made_from_the_catalogue() -> None:
    assert FEATURES_PAGE.read_text(encoding="utf-8") == features_page(), "run `make docs`"


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {name.upper() for name in Settings.model_fields if name not in NOT_YET_USED}
    assert not {name for name in named if name not in readme}
