"""Writes the pages of docs/ that are made from code; `make docs` runs it, a test checks that they are up to date."""

from __future__ import annotations

from pathlib import Path

from fraudstream.features.catalogue import CATALOGUE, MODEL_INPUTS, markdown_table

FEATURES_PAGE = Path(__file__).resolve().parent.parent / "docs" / "features.md"


def features_page() -> str:
    """docs/features.md."""
    return (
        "# The feature catalogue\n\n"
        f"{len(CATALOGUE)} features, {len(MODEL_INPUTS)} of them seen by the models; the others are there for people, "
        "replay and models to come. In the formulas `a` is this amount in main units; `n_w`, `s_w`, `m_w` are count, "
        "sum and mean of the user's earlier transactions in the window (t - w, t]. Made from "
        "`fraudstream/features/catalogue.py` by `make docs`.\n\n" + markdown_table()
    )


if __name__ == "__main__":
    FEATURES_PAGE.write_text(features_page(), encoding="utf-8")
