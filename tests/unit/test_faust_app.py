"""Our settings are the only way into a Faust app: Faust's own environment variables change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.agents.audit_app import create_audit_app
from fraudstream.agents.build import create_app
from fraudstream.settings import load_settings

BROKER = "127.0.0.1:9092"


@pytest.fixture
def environment_of_faust(plain_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Faust would read, and put before what an app is made with."""
    for name, value in {
        "WEB_PORT": "7001",
        "WEB_BIND": "127.0.0.2",
        "BROKER_URL": "kafka://elsewhere:9092",
        "BROKER_COMMIT_INTERVAL": "99",
        "CONSUMER_AUTO_OFFSET_RESET": "latest",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment_of_faust")
def test_a_sink_beside_a_worker_listens_on_a_port_of_its_own_and_reads_from_the_start(tmp_path: Path) -> None:
    conf = create_audit_app(load_settings(data_dir=tmp_path, audit_web_port=7002), BROKER).conf
    assert (conf.web_port, conf.web_bind, conf.consumer_auto_offset_reset) == (7002, "127.0.0.1", "earliest")
    assert [str(url) for url in conf.broker] == [f"kafka://{BROKER}"]


@pytest.mark.usefixtures("environment_of_faust")
def test_a_worker_is_where_its_settings_say(tmp_path: Path) -> None:
    conf = create_app(load_settings(data_dir=tmp_path), BROKER).conf
    assert (conf.web_port, conf.broker_commit_interval) == (7001, 0.5)
    assert [str(url) for url in conf.broker] == [f"kafka://{BROKER}"]
