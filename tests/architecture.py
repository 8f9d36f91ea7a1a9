"""The walls between the rooms, read off the source: who may import whom; nothing here imports what it judges.

core        fraudstream/ but the rooms below: no other room, no Faust, no client, no clock in the pipeline
adapters    the core; the only room of the library that may import clients
web         the core and adapters; aiohttp
tables      the core and Faust
training    the core; the only room that may import scikit-learn, pyarrow and pandas
agents      every room but the command line
cli         every room, but only when a command runs
library     every room but the command line: what `import fraudstream` gives; nothing inside may depend on it
testing     the same, for the tests of users
face        fraudstream/__init__.py: any of these, but only when a name is asked for; nobody inside takes names from it
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = {"fraudstream": "fraudstream", "agents": "fraudstream.agents"} | {
    name: f"fraudstream.{name}" for name in ("tables", "training")
}
"""Folder in the checkout -> name under which it is installed."""

OUTER_ROOMS = ("adapters", "web", "tables", "training", "agents", "cli", "library", "testing")
FACE = "fraudstream"
"""The package itself: every room may ask it for its version, and only users for the names that it gathers."""
MAY_IMPORT = {
    "core": {"core"},
    "adapters": {"core", "adapters"},
    "web": {"core", "adapters", "web"},
    "tables": {"core", "tables"},
    "training": {"core", "training"},
    "agents": {"core", "adapters", "web", "tables", "training", "agents"},
    "cli": {"core", "adapters", "web", "tables", "training", "agents", "cli"},
    "library": {"core", "adapters", "web", "tables", "training", "agents", "library"},
    "testing": {"core", "adapters", "web", "tables", "training", "agents", "library", "testing"},
    "face": {"core", "agents", "library", "testing"},
}

ONLY_IN = {
    frozenset({"alembic", "sqlalchemy"}): {"adapters"},
    frozenset({"aiokafka", "asyncpg", "confluent_kafka", "kafka", "prometheus_client", "redis"}): {
        "adapters",
        "agents",
    },
    frozenset({"faust", "mode"}): {"tables", "agents", "cli"},
    frozenset({"rocksdict"}): {"tables", "agents"},
    frozenset({"aiohttp"}): {"adapters", "web", "agents", "cli"},
    frozenset({"pandas", "polars", "pyarrow"}): {"training", "library"},
    frozenset({"sklearn", "torch"}): {"training"},
    frozenset({"hypothesis"}): {"testing"},
    frozenset({"swagger_ui_bundle"}): {"web"},
    frozenset({"click", "rich"}): {"cli"},
}
"""Libraries that only some rooms may import."""

PIPELINE = "fraudstream.pipeline"
CLOCK_MODULES = frozenset({"time", "asyncio", "timeit"})
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


@dataclass(frozen=True)
class Import:
    """One imported name, such as `fraudstream.agents.app` or `redis.asyncio.Redis`."""

    name: str
    line: int
    runs_at_import: bool

    @property
    def library(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]


def modules(root: Path) -> dict[str, Path]:
    """Every module of the checkout by its installed name; links inside fraudstream/ are not followed."""
    found = {}
    for folder, installed in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            inside = path.relative_to(root / folder).with_suffix("").parts
            if folder == "fraudstream" and len(inside) > 1 and inside[0] in FOLDERS:
                continue
            found[".".join((installed, *inside)).removesuffix(".__init__")] = path
    return found


def violations(root: Path) -> list[str]:
    """Every breach of a wall in a checkout, one line each."""
    found = []
    for module, path in modules(root).items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for line, breach in _breaches(module, is_package=path.name == "__init__.py", tree=tree):
            found.append(f"{path.relative_to(root)}:{line}: {module} {breach}")
    return found


def room(module: str) -> str:
    """The room that a module of fraudstream belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in OUTER_ROOMS else "core"


def _breaches(module: str, *, is_package: bool, tree: ast.Module) -> Iterator[tuple[int, str]]:
    here = "face" if module == FACE else room(module)
    for found in (*imports(module, is_package=is_package, tree=tree), *lazy_imports(module, tree)):
        if found.library in FOLDERS and found.library != "fraudstream":
            yield found.line, f"imports {found.name}: its installed name is fraudstream.{found.name}"
        elif found.library == "fraudstream":
            yield from ((found.line, breach) for breach in _wrong_ways(here, found))
        for libraries, rooms in ONLY_IN.items():
            if found.library in libraries and here not in rooms:
                yield found.line, f"({here}) may not import {found.name}: only {', '.join(sorted(rooms))} may"
        if module == PIPELINE and found.library in CLOCK_MODULES:
            yield found.line, f"imports {found.name}: the pipeline reads no clock"
    if module == PIPELINE:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in CLOCK_CALLS:
                yield node.lineno, f"calls {ast.unparse(node)}: the pipeline reads no clock"


def imports(module: str, *, is_package: bool, tree: ast.Module) -> Iterator[Import]:
    """Every import of a module: statements at any depth, and `import_module` with a literal name."""
    for node, runs_at_import in _walk(tree, runs_at_import=True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, runs_at_import)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=is_package)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, runs_at_import)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(argument.value, node.lineno, runs_at_import)


def _wrong_ways(here: str, found: Import) -> Iterator[str]:
    """What is wrong with an import of one of our own rooms."""
    there = room(found.name)
    if there not in MAY_IMPORT[here]:
        yield f"({here}) may not import {found.name} ({there})"
    elif here == "cli" and there not in {"cli", "core"} and found.runs_at_import:
        yield f"imports {found.name} ({there}) when it is imported, not when the command runs"
    elif here == "face" and found.runs_at_import:
        yield f"imports {found.name} when it is imported, not when a name is asked for"
    elif here != "face" and found.name.removeprefix(f"{FACE}.")[:1].isupper():
        yield f"takes {found.name} from the face, which is for users: import it where it lives"


def lazy_imports(module: str, tree: ast.Module) -> Iterator[Import]:
    """What the face imports when a name is asked for: the values of its table, module:attribute."""
    if module != FACE:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for value in node.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and ":" in value.value:
                    yield Import(value.value.rstrip(":").replace(":", "."), value.lineno, runs_at_import=False)


def _walk(node: ast.AST, *, runs_at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        sleeps = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        runs = runs_at_import and not sleeps
        yield child, runs
        yield from _walk(child, runs_at_import=runs)


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    package = parts if is_package else parts[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join((*base, node.module) if node.module else base)
