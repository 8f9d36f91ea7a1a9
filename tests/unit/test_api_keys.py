"""API keys at rest, their rotation and their rates."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from fraudstream import api_keys
from fraudstream.cli.main import main
from fraudstream.errors import SettingsError
from fraudstream.settings import load_settings
from fraudstream.web import keyring
from fraudstream.web.keyring import KeyRing
from fraudstream.web.rate_limit import RateLimiter, retry_after_s

DIGEST = "ab" * 32

pytestmark = pytest.mark.usefixtures("plain_environment")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["keys", *arguments])
    return result.exit_code, result.output


def test_a_key_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file, told = tmp_path / "keys", tmp_path / "told.json"
    code, said = run("add", "till-7", "--rate", "50", "--file", str(file), "--json", str(told))
    key = json.loads(told.read_text())["key"]
    assert code == 0
    assert key in said
    assert key not in file.read_text()
    assert file.read_text() == f"till-7:{api_keys.digest_of(key.encode()).hex()}:50\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key not in run("list", "--file", str(file))[1]


@pytest.mark.parametrize("rate", ["nan", "inf", "1e400"])
def test_a_rate_that_is_no_number_leaves_the_file_as_it_was(tmp_path: Path, rate: str) -> None:
    """Once written, the line would keep every process from starting and every key from being changed."""
    path = tmp_path / "keys"
    assert run("add", "a", "--file", str(path))[0] == 0
    before = path.read_bytes()
    code, said = run("add", "b", "--rate", rate, "--file", str(path))
    assert code == 2
    assert "--rate: expected a rate of 0 or more" in said
    assert path.read_bytes() == before


def test_keys_are_listed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_HASHES_FILE", str(tmp_path / "keys"))
    assert [run("add", name)[0] for name in ("a", "b")] == [0, 0]
    assert [entry.name for entry in api_keys.read(tmp_path / "keys")] == ["a", "b"]
    assert run("remove", "a")[0] == 0
    assert [entry.name for entry in api_keys.read(tmp_path / "keys")] == ["b"]
    assert run("remove", "a")[0] == 2
    assert run("add", "b")[0] == 2, "a name twice"
    assert run("add", "white space")[0] == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("name", "1 parts"),
        (f"na me:{DIGEST}", "name"),
        ("name:abcd", "64 hexadecimal"),
        (f"name:{DIGEST}:fast", "rate"),
        (f"name:{DIGEST}:-1", "rate"),
        (f"name:{DIGEST}:nan", "rate"),
        (f"name:{DIGEST}:1:2", "4 parts"),
        (f"name:{DIGEST}\nname:{DIGEST}", "once"),
    ],
)
def test_a_line_that_is_no_entry_is_refused_without_being_shown(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        api_keys.parse(f"# comment\n\n{line}\n", "FILE")
    assert problem in str(caught.value)
    assert "line" in str(caught.value)
    assert DIGEST not in str(caught.value)


def test_entries_survive_writing_and_reading(tmp_path: Path) -> None:
    entries = (
        api_keys.KeyEntry("a", bytes.fromhex(DIGEST)),
        api_keys.KeyEntry("b", bytes(32), 0.0),
        api_keys.KeyEntry("c", bytes(32), 2.5),
    )
    api_keys.write(tmp_path / "keys", entries)
    assert api_keys.read(tmp_path / "keys") == entries
    assert [path.name for path in tmp_path.iterdir()] == ["keys"], "a temporary file stayed"


def test_a_hashes_file_stands_for_keys_where_the_settings_want_some() -> None:
    with pytest.raises(SettingsError, match="API_KEY_HASHES_FILE"):
        load_settings(web_host="10.0.0.1")
    assert load_settings(web_host="10.0.0.1", api_key_hashes_file=Path("keys")).needs_key


def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> tuple[KeyRing, Path]:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"old:{api_keys.digest_of(b'old-key').hex()}:7\n")
    return KeyRing(load_settings(api_key_hashes_file=file, **settings)), file


def names(keys: KeyRing, *offered: str) -> list[str | None]:
    return [found.name if (found := keys.find(key)) else None for key in offered]


def test_keys_rotate_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, file = ring(tmp_path, monkeypatch, api_keys=SecretStr("plain"))
    assert names(keys, "old-key", "plain", "new-key", "", "old-key ") == ["old", "key-1", None, None, None]
    api_keys.write(file, [*api_keys.read(file), api_keys.KeyEntry("new", api_keys.digest_of(b"new-key"))])
    assert names(keys, "old-key", "new-key") == ["old", "new"]
    api_keys.write(file, [api_keys.KeyEntry("new", api_keys.digest_of(b"new-key"))])
    assert names(keys, "old-key", "new-key", "plain") == [None, "new", "key-1"]


def test_a_broken_file_keeps_the_keys_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys, file = ring(tmp_path, monkeypatch)
    file.write_text("half a li")
    assert names(keys, "old-key") == ["old"]
    file.unlink()
    assert names(keys, "old-key") == ["old"]
    assert len([record for record in caplog.records if "stay in use" in record.message]) == 2, "told once each"
    api_keys.write(file, [])
    assert names(keys, "old-key") == [None], "an empty file has no keys"


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="keys add"):
        KeyRing(load_settings(api_key_hashes_file=tmp_path / "nothing"))


def test_a_key_has_its_own_rate_or_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, _ = ring(tmp_path, monkeypatch, api_keys=SecretStr("plain"), api_key_rate=3.0)
    rates = [keys.rate_per_s(entry) for key in ("old-key", "plain") if (entry := keys.find(key))]
    assert rates == [7.0, 3.0]


def test_a_rate_lets_through_what_it_says_and_tells_how_long_to_wait() -> None:
    limiter = RateLimiter()
    waits = [limiter.take("a", 10.0, 1, 100.0) for _ in range(11)]
    assert waits[:10] == [0.0] * 10
    assert waits[10] == pytest.approx(0.1)
    assert limiter.take("a", 10.0, 1, 100.0 + waits[10] + 1e-9) == 0.0
    assert limiter.take("b", 10.0, 1, 100.0) == 0.0, "each key has its own bucket"
    through = sum(limiter.take("c", 10.0, 1, at / 100) == 0.0 for at in range(1000))
    assert 100 <= through <= 110


def test_a_batch_goes_through_on_credit_and_is_paid_for_afterwards() -> None:
    limiter = RateLimiter()
    assert limiter.take("a", 10.0, 1, 0.0) == 0.0
    limiter.charge("a", 499)
    wait_s = limiter.take("a", 10.0, 1, 0.0)
    assert wait_s == pytest.approx(49.1)
    assert retry_after_s(wait_s) == 50
    assert limiter.take("a", 10.0, 1, 49.2) == 0.0


def test_a_rate_of_zero_is_no_limit() -> None:
    limiter = RateLimiter()
    assert not any(limiter.take("a", 0.0, 1, 0.0) for _ in range(10_000))
