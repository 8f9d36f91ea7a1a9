"""docs/settings.md, put together from the fields of `Settings`: all that it says stands there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fraudstream.settings import Settings

HEAD = """\
# The settings

Environment variables, the same for every process; each takes those that it needs. Made from `fraudstream/settings.py`
by `make docs`. `fraudstream doctor` shows the values that hold, with secrets hidden; a value that is not legal ends a
process at once with one line that names it (exit code 2, or 78 under `faust`).

A secret, marked so, may also come as a file: `POSTGRES_URL_FILE=/run/secrets/postgres` is read at the start, the way
Docker and Kubernetes mount secrets. On the command line an option wins over the environment.
"""

SECTION = re.compile(r"    # (\w[\w ]*)$")
"""The headings of the page are the comments between the fields."""
FIELD = re.compile(r"    (\w+): ")
LIMITS = {"gt": "more than {}", "ge": "{} or more", "lt": "less than {}", "le": "at most {}"}


def settings_page() -> str:
    """The page, with one table a section."""
    return "\n".join([HEAD, *(_section(title, names) for title, names in sections().items())])


def sections() -> dict[str, list[str]]:
    """Names of fields by the heading above them, in the order of the source."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in inspect.getsource(Settings).splitlines():
        heading, field = SECTION.match(line), FIELD.match(line)
        if heading:
            title = heading[1]
        elif field and field[1] in Settings.model_fields:
            found.setdefault(title, []).append(field[1])
    return found


def _section(title: str, names: list[str]) -> str:
    rows = "\n".join(_row(name, Settings.model_fields[name]) for name in names)
    return f"## {title}\n\n| variable | default | |\n|---|---|---|\n{rows}\n"


def _row(name: str, field: FieldInfo) -> str:
    facts = [field.description or "", *_choices(field.annotation), *_limits(field)]
    if SecretStr in get_args(field.annotation):
        facts.append(f"secret; or {name.upper()}_FILE")
    return f"| `{name.upper()}` | {_default(field.default)} | {'; '.join(facts)} |"


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:.10g}`" if isinstance(value, float) else f"`{value}`"


def _choices(annotation: Any) -> Iterator[str]:
    """What a Literal allows."""
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _choices(part)
    elif get_origin(annotation) is Literal:
        yield f"one of {', '.join(f'`{choice}`' for choice in get_args(annotation))}"


def _limits(field: FieldInfo) -> Iterator[str]:
    bounds = {name: getattr(part, name) for part in field.metadata for name in LIMITS if hasattr(part, name)}
    if bounds.keys() == {"ge", "le"}:
        yield f"{bounds['ge']:,} to {bounds['le']:,}"
    elif bounds:
        yield " and ".join(LIMITS[name].format(f"{limit:,}") for name, limit in bounds.items())
