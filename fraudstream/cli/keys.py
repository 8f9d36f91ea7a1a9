"""`fraudstream keys`: makes and removes API keys; a key is shown once, and only its hash is kept."""

from __future__ import annotations

from pathlib import Path

import click

from fraudstream import api_keys
from fraudstream.api_keys import KeyEntry
from fraudstream.cli.output import json_option, print_table, say, write_json
from fraudstream.errors import SettingsError
from fraudstream.settings import load_settings

file_option = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of keys; otherwise the one that API_KEY_HASHES_FILE names.",
)


@click.group()
def keys() -> None:
    """Keeps the API keys in API_KEY_HASHES_FILE; running processes take up a change within a second."""


@keys.command()
@click.argument("name")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    help="Transactions a second that the key may ask about; 0: no limit. Otherwise API_KEY_RATE holds.",
)
@file_option
@json_option
def add(name: str, rate: float | None, file: Path | None, json_file: Path | None) -> None:
    """Makes a key for NAME and shows it, this once."""
    path = _path(file)
    api_keys.check_rate(rate, "--rate")
    entries = _entries(path)
    if any(entry.name == api_keys.check_name(name) for entry in entries):
        raise SettingsError(f"{path}: has a key of {name} already; remove it first, or add another name beside it")
    key = api_keys.new_key()
    api_keys.write(path, [*entries, KeyEntry(name, api_keys.digest_of(key.encode()), rate)])
    say(key)
    click.echo(f"{path}: {name} was added; the key is not kept anywhere, so note it now", err=True)
    write_json(json_file, {"name": name, "key": key, "rate_per_s": rate, "file": str(path)})


@keys.command("list")
@file_option
@json_option
def list_(file: Path | None, json_file: Path | None) -> None:
    """Lists the names, with the beginning of each hash."""
    path = _path(file)
    entries = _entries(path)
    print_table(
        ("name", "sha256", "transactions a second"),
        [(entry.name, entry.digest.hex()[:12], _rate(entry.rate_per_s)) for entry in entries],
    )
    if not entries:
        say(f"{path}: no keys yet; add one with `fraudstream keys add NAME`")
    listed = [{"name": one.name, "sha256": one.digest.hex(), "rate_per_s": one.rate_per_s} for one in entries]
    write_json(json_file, {"file": str(path), "keys": listed})


@keys.command()
@click.argument("name")
@file_option
@json_option
def remove(name: str, file: Path | None, json_file: Path | None) -> None:
    """Removes the key of NAME; processes refuse it within a second."""
    path = _path(file)
    entries = _entries(path)
    left = [entry for entry in entries if entry.name != name]
    if len(left) == len(entries):
        raise SettingsError(f"{path}: expected the name of a key, got {name!r}; see `fraudstream keys list`")
    api_keys.write(path, left)
    say(f"{path}: {name} was removed")
    write_json(json_file, {"name": name, "file": str(path)})


def _path(file: Path | None) -> Path:
    path = file or load_settings().api_key_hashes_file
    if path is None:
        raise SettingsError("expected API_KEY_HASHES_FILE or --file, to know where the keys are; set one of them")
    return path


def _entries(path: Path) -> tuple[KeyEntry, ...]:
    return api_keys.read(path) if path.exists() else ()


def _rate(rate_per_s: float | None) -> str:
    return "API_KEY_RATE" if rate_per_s is None else f"{rate_per_s:g}" if rate_per_s else "no limit"
