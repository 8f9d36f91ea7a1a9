"""`fraudstream models`: the registry that MODEL_REGISTRY names: what is in it, and which model workers use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fraudstream.cli.output import json_option, print_facts, print_table, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import load_settings

if TYPE_CHECKING:
    from fraudstream.score.promotions import Promotion
    from fraudstream.score.registry import Entry, Registry

KEY_METRICS = ("ap", "average_precision", "auc", "tpr_at_1_percent", "recall", "precision")
"""Shown first, by the last part of their name."""
MOST_METRICS = 3
"""In a list; `show` tells all."""
PROMOTED = "promoted"

note_option = click.option("--note", default="", help="Why, for the history.")


@click.group()
def models() -> None:
    """Keeps the models of MODEL_REGISTRY; workers that name it follow its promoted model while they run."""


@models.command("list")
@json_option
def list_(json_file: Path | None) -> None:
    """Lists the registered models, the newest last."""
    registry = _registry()
    promoted, entries = registry.promotions().version, registry.entries()
    print_table(
        ("version", "", "age", "rows", "trained on", "metrics"),
        [(entry.version, PROMOTED if entry.version == promoted else "", *_cells(entry)) for entry in entries],
    )
    if not entries:
        say(f"{registry.directory}: no models yet; add one with `fraudstream models add DIR`")
    elif promoted is None:
        say("none is promoted; promote one with `fraudstream models promote VERSION`")
    versions = [{"version": entry.version, "promoted": entry.version == promoted, **_facts(entry)} for entry in entries]
    write_json(json_file, {"registry": str(registry.directory), "promoted": promoted, "versions": versions})


@models.command()
@click.argument("version")
@json_option
def show(version: str, json_file: Path | None) -> None:
    """Shows what a model was made from: training range, data, seeds, libraries, metrics, promotions."""
    import msgspec

    registry = _registry()
    entry, promotions = registry.entry(version), registry.promotions()
    manifest = msgspec.to_builtins(entry.manifest)
    about = [one for one in promotions.history if version in (one.from_version, one.to_version)]
    is_promoted = promotions.version == version
    print_facts({"version": version + (f" ({PROMOTED})" if is_promoted else ""), "directory": entry.directory})
    if entry.problem:
        say(f"cannot be used: {entry.problem}")
    else:
        print_facts(dict(_shown(manifest)))
    for name, value in numbers(_metrics(entry)).items():
        say(f"metric  {name} {value:.6g}")
    for promotion in about:
        say(f"{promotion.at:%Y-%m-%d %H:%M:%S}Z  {promotion.by}  {_sentence(promotion)}")
    write_json(
        json_file,
        {
            "version": version,
            "promoted": is_promoted,
            "directory": str(entry.directory),
            "problem": entry.problem,
            "manifest": manifest,
            "metrics": _metrics(entry),
            "promotions": msgspec.to_builtins(about),
        },
    )


@models.command()
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
def add(directory: Path, json_file: Path | None) -> None:
    """Copies the model in DIRECTORY into the registry; promotes nothing."""
    registry = _registry()
    version, is_new = registry.add(directory)
    say(f"{version}: {'added' if is_new else 'was there already'}; `fraudstream models promote {version}` uses it")
    write_json(json_file, {"version": version, "added": is_new})


@models.command()
@click.argument("version_or_directory", metavar="VERSION|DIR")
@note_option
@json_option
def promote(version_or_directory: str, note: str, json_file: Path | None) -> None:
    """Makes a registered version, or the model in a directory, the one that workers use.

    It is loaded in full and checked first. Running workers take it up within MODEL_POLL_INTERVAL_S.
    """
    registry = _registry()
    promotion = registry.promote(version_or_directory, note)
    if promotion is None:
        say(f"{registry.promotions().version}: is promoted already, nothing was changed")
    _tell(registry, promotion, json_file)


@models.command()
@note_option
@json_option
def rollback(note: str, json_file: Path | None) -> None:
    """Goes back to the version that was promoted before the present one; once more, to the one before that."""
    registry = _registry()
    _tell(registry, registry.rollback(note), json_file)


def _registry() -> Registry:
    from fraudstream.score.registry import Registry

    directory = load_settings().model_registry
    if directory is None:
        raise SettingsError(
            "MODEL_REGISTRY: expected the directory of the model registry, it is not set; set it, here and for the "
            "workers, to a directory that all of them can read"
        )
    return Registry(directory)


def _tell(registry: Registry, promotion: Promotion | None, json_file: Path | None) -> None:
    import msgspec

    if promotion is not None:
        say(_sentence(promotion))
    write_json(
        json_file,
        {
            "promoted": registry.promotions().version,
            "changed": promotion is not None,
            "promotion": msgspec.to_builtins(promotion),
        },
    )


def _sentence(promotion: Promotion) -> str:
    done = "promoted" if promotion.action == "promote" else "rolled back to"
    before = f", before it {promotion.from_version}" if promotion.from_version else ""
    return f"{done} {promotion.to_version}{before}" + (f": {promotion.note}" if promotion.note else "")


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    if entry.manifest is None:
        return "", "", "", f"cannot be used: {entry.problem}"
    training = entry.manifest.training
    found = numbers(_metrics(entry))
    key = sorted(found, key=lambda name: (_rank(name), name))[:MOST_METRICS]
    return (
        _age((datetime.now(UTC) - training.created_at).total_seconds()),
        f"{training.rows:,}",
        f"{training.first_event_time:%Y-%m-%d} to {training.last_event_time:%Y-%m-%d}",
        ", ".join(f"{name} {found[name]:.4g}" for name in key),
    )


def _facts(entry: Entry) -> dict[str, Any]:
    if entry.manifest is None:
        return {"problem": entry.problem}
    training = entry.manifest.training
    return {
        "created_at": training.created_at.isoformat(),
        "rows": training.rows,
        "first_event_time": training.first_event_time.isoformat(),
        "last_event_time": training.last_event_time.isoformat(),
        "metrics": _metrics(entry),
        "problem": entry.problem,
    }


def _metrics(entry: Entry) -> dict[str, Any]:
    """Those of the manifest, where it has any, and those of metrics.json."""
    in_manifest = getattr(entry.manifest, "metrics", None) or {}
    return {**in_manifest, **entry.metrics}


def numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number among nested metrics, by its path: {"test": {"auc": 0.9}} gives test.auc."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found


def _rank(name: str) -> int:
    last = name.rpartition(".")[2].lower()
    return KEY_METRICS.index(last) if last in KEY_METRICS else len(KEY_METRICS)


def _shown(manifest: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The manifest's facts, line by line; lists of names as their number."""
    for name, value in manifest.items():
        if name in {"training", "files", "libraries"}:
            yield from ((f"{name}.{inner}", _text(fact)) for inner, fact in value.items())
        elif name != "model_version":
            yield name, _text(value)


def _text(value: object) -> object:
    if isinstance(value, list | tuple | dict):
        return f"{len(value)} entries"
    return "" if value is None else value


def _age(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return "now"
