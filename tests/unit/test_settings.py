"""Settings: defaults, what is refused, and that secrets stay hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.errors import SettingsError
from fraudstream.settings import load_settings


def test_the_defaults_need_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_SERVERS", "API_KEYS", "CONTAMINATION", "WEB_HOST"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    assert settings.kafka_servers is None
    assert settings.contamination == 0.10
    assert settings.ensemble_weights == (0.4, 0.4, 0.2)
    assert settings.web_host == "127.0.0.1"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SERVERS", "a:9092,b:9092")
    monkeypatch.setenv("ENSEMBLE_WEIGHTS", "0.5, 0.25,0.25")
    monkeypatch.setenv("API_KEYS", " one, two ")
    settings = load_settings()
    assert settings.kafka_servers == "a:9092,b:9092"
    assert settings.ensemble_weights == (0.5, 0.25, 0.25)
    assert settings.keys == ("one", "two")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CONTAMINATION", "1.5", "CONTAMINATION"),
        ("CONTAMINATION_BY", "merchant", "CONTAMINATION_BY.*'none' or 'category'"),
        ("ENSEMBLE_WEIGHTS", "0.4,0.4", "ENSEMBLE_WEIGHTS"),
        ("ENSEMBLE_WEIGHTS", "0.4,0.4,0.4", "sum to 1"),
        ("TOPIC_PARTITIONS", "none", "TOPIC_PARTITIONS"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "KAFKA_SASL_USERNAME"),
        ("WEB_HOST", "0.0.0.0", "set API_KEYS or API_KEY_HASHES_FILE, or ALLOW_ANONYMOUS=true"),  # noqa: S104
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_another_address_than_loopback_needs_keys_or_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_HOST", "10.0.0.5")
    with pytest.raises(SettingsError, match="API_KEYS"):
        load_settings()
    monkeypatch.setenv("ALLOW_ANONYMOUS", "true")
    assert load_settings().web_host == "10.0.0.5"
    monkeypatch.setenv("ALLOW_ANONYMOUS", "false")
    monkeypatch.setenv("API_KEYS", "k")
    assert load_settings().keys == ("k",)


def test_a_secret_may_come_as_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text("open-sesame\n", encoding="utf-8")
    monkeypatch.delenv("API_KEYS", raising=False)
    monkeypatch.setenv("API_KEYS_FILE", str(secret))
    settings = load_settings()
    assert settings.keys == ("open-sesame",)
    assert settings.masked()["API_KEYS"] == "********"
    assert "open-sesame" not in repr(settings)


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("API_KEYS", raising=False)
    monkeypatch.setenv("API_KEYS_FILE", str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="API_KEYS_FILE"):
        load_settings()


def test_a_refused_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
