"""The pages lead somewhere: as files of a checkout, and as a site that loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fraudstream.cli.main import COMMANDS
from fraudstream.settings import Settings
from scripts.settings_page import sections
from tests.checkout import ROOT, committed_files

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
FENCES = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
OUTSIDE = re.compile(r"^(https?:)?//")
CSS_ADDRESS = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")
BUILD_WITHIN_S = 120
PAGES = [path for path in committed_files() if path.suffix == ".md"]


class Loaded(HTMLParser):
    """Addresses that a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        names = ["src", "srcset", "data", "poster"]
        if tag == "link" and values.get("rel") not in {"canonical", "next", "prev"}:
            names.append("href")
        self.addresses += [address for name in names if (address := values.get(name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails the build."""
    directory = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BUILD_WITHIN_S,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return directory


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = LINK.findall(FENCES.sub("", page.read_text(encoding="utf-8")))
    missing = [link for link in links if ":" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_site_is_built_without_a_warning_and_has_every_page(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        built = site / (name.with_name("index.html") if name.name == "README.html" else name)
        assert built.exists(), f"{page.relative_to(ROOT)} is not in the site"


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    found = list(_loaded(site))
    assert len(found) > 100, "expected pages with scripts and styles of their own"
    assert [f"{file}: {address}" for file, address in found if OUTSIDE.match(address)] == []
    # The theme's script fetches a drawing library from elsewhere where a page has this class.
    assert not [page for page in site.rglob("*.html") if "mermaid" in page.read_text(encoding="utf-8")]


def _loaded(site: Path) -> Iterator[tuple[Path, str]]:
    for page in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        yield from ((page.relative_to(site), address) for address in parser.addresses)
    for style in site.rglob("*.css"):
        for address in CSS_ADDRESS.findall(style.read_text(encoding="utf-8")):
            yield style.relative_to(site), address


def test_every_setting_has_a_place_and_a_description() -> None:
    placed = [name for names in sections().values() for name in names]
    assert sorted(placed) == sorted(Settings.model_fields)
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_readme_names_settings_that_exist() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Settings\n")[2].partition("\n## ")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)}
    assert named
    assert named - {name.upper() for name in Settings.model_fields} == set()


def test_the_readme_and_the_page_of_commands_have_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`fraudstream {name}" not in readme] == []
    assert [name for name in COMMANDS if f"## fraudstream {name}\n" not in page] == []
