"""Files made from code are up to date."""

from __future__ import annotations

import pytest

from fraudstream.decide.codes import CODES
from scripts.make_docs import CODES_BEGIN, CODES_END, DOCS, made_files


@pytest.mark.parametrize("name", made_files())
def test_a_made_file_says_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == made_files()[name], "run `make docs`"


def test_the_reasons_page_lists_the_codes() -> None:
    made = made_files()["reasons.md"].partition(CODES_BEGIN)[2].partition(CODES_END)[0]
    for code in CODES:
        assert f"| `{code.name}` | {code.subject} | {code.meaning} | {code.example} |" in made


def test_no_made_file_is_left_over() -> None:
    found = {path.relative_to(DOCS).as_posix() for path in (DOCS / "schemas").iterdir()}
    assert found == {name for name in made_files() if name.startswith("schemas/")}


def test_the_made_files_do_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made_files()
    monkeypatch.setenv("VERDICTS_TOPIC", "elsewhere")
    monkeypatch.setenv("KAFKA_SERVERS", "broker:9092")
    assert made_files() == expected
