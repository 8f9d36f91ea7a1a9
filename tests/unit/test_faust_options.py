"""What an app of this project does is said by its own settings, whatever names Faust reads from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudstream.agents.audit_app import create_audit_app
from fraudstream.settings import load_settings

NOBODY = "127.0.0.1:9"


@pytest.mark.usefixtures("plain_environment")
def test_variables_of_faust_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"WEB_PORT": "1234", "WEB_BIND": "127.0.0.2", "BROKER_URL": "kafka://elsewhere:1"}.items():
        monkeypatch.setenv(name, value)
    conf = create_audit_app(load_settings(data_dir=tmp_path, audit_web_port=8001), NOBODY).conf
    assert (conf.web_port, conf.web_bind, [str(url) for url in conf.broker]) == (
        8001,
        "127.0.0.1",
        [f"kafka://{NOBODY}"],
    )
