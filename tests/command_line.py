"""How a command ends that cannot do what was asked for."""

from __future__ import annotations

from click.testing import Result


def assert_one_line(ended: Result, code: int, *words: str) -> None:
    """It ended with this code, and its last line on stderr is an error with all these words."""
    assert ended.exit_code == code, ended.output
    assert isinstance(ended.exception, SystemExit)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(("fraudstream: ", "Error: ")), ended.stderr
    assert "Traceback" not in ended.output
    for word in words:
        assert word in last
