"""Writes the files of docs/ that are made from code; `make docs` runs it, a test checks that they are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fraudstream.asyncapi import asyncapi_document
from fraudstream.decide import codes
from fraudstream.features.catalogue import CATALOGUE, MODEL_INPUTS, markdown_table
from fraudstream.settings import Settings
from fraudstream.wire_schemas import json_schemas
from scripts.commands_page import commands_page
from scripts.metrics_page import metrics_page
from scripts.settings_page import settings_page
from scripts.topics_page import topics_page

DOCS = Path(__file__).resolve().parent.parent / "docs"
CODES_BEGIN, CODES_END = "<!-- codes: begin -->\n", "<!-- codes: end -->\n"
"""What lies between these lines of docs/reasons.md is made here; the rest of the page is written by hand."""


def made_files() -> dict[str, str]:
    """What each made file of docs/ must hold, by its path there."""
    document = asyncapi_document(Settings.model_construct())  # the defaults, whatever the environment says
    return {
        "features.md": features_page(),
        "reasons.md": reasons_page((DOCS / "reasons.md").read_text(encoding="utf-8")),
        "topics.md": topics_page(document),
        "metrics.md": metrics_page(),
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "asyncapi.json": as_json(document),
        **{f"schemas/{stem}.json": as_json(schema) for stem, schema in json_schemas().items()},
    }


def features_page() -> str:
    """docs/features.md."""
    return (
        "# The feature catalogue\n\n"
        f"{len(CATALOGUE)} features, {len(MODEL_INPUTS)} of them seen by the models; the others are there for people, "
        "replay and models to come. In the formulas `a` is this amount in main units; `n_w`, `s_w`, `m_w` are count, "
        "sum and mean of the user's earlier transactions in the window (t - w, t]. Made from "
        "`fraudstream/features/catalogue.py` by `make docs`.\n\n" + markdown_table()
    )


def reasons_page(page: str) -> str:
    """docs/reasons.md with the table of codes as it must be.

    Args:
        page: the page as it is.

    Raises:
        ValueError: the page lacks one of the lines between which the table stands.
    """
    before, begin, rest = page.partition(CODES_BEGIN)
    _, end, after = rest.partition(CODES_END)
    if not begin or not end:
        raise ValueError(f"docs/reasons.md: expected the lines {CODES_BEGIN.strip()} and {CODES_END.strip()}")
    inputs = dict.fromkeys((feature.reason for feature in MODEL_INPUTS), "")
    for feature in MODEL_INPUTS:
        inputs[feature.reason] += f"{', ' if inputs[feature.reason] else ''}`{feature.name}`"
    fed = "".join(f"| `{code}` | {names} |\n" for code, names in inputs.items())
    table = f"{codes.markdown_table()}\n| code | model inputs that feed it |\n|---|---|\n{fed}"
    return before + begin + table + end + after


def as_json(content: dict[str, Any]) -> str:
    """JSON as people read it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in made_files().items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
