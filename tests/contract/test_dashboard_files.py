"""Grafana's dashboards are what scripts/dashboards.py says, and each panel explains itself."""

from __future__ import annotations

import json

from scripts.dashboards import DASHBOARDS
from scripts.make_dashboards import FOLDER, built


def test_each_file_is_what_the_table_of_panels_gives() -> None:
    assert {file.name for file in FOLDER.glob("*")} == {f"{page.uid}.json" for page in DASHBOARDS}
    for page in DASHBOARDS:
        assert (FOLDER / f"{page.uid}.json").read_text(encoding="utf-8") == built(page), f"{page.uid}: make docs"


def test_each_panel_has_a_place_of_its_own_a_source_that_can_be_chosen_and_words() -> None:
    for page in DASHBOARDS:
        board = json.loads(built(page))
        assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "namespace"]
        places: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24
            assert not cells & places, panel["title"]
            places |= cells
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"].endswith("."), panel["title"]
        assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
