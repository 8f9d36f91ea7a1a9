"""The pipeline: what it runs exists, nothing it uses can be changed under it, and it may do no more than it must."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.compare_bench import main
from tests.checkout import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def loaded(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def test_every_action_is_pinned_by_the_digest_of_a_named_version() -> None:
    uses = [line.strip(" -") for file in WORKFLOWS for line in file.read_text().splitlines() if "uses:" in line]
    assert len(uses) > 10
    assert [line for line in uses if "./.github/" not in line and not PINNED.search(line)] == []


def test_one_action_has_one_version() -> None:
    found = {re.search(r"uses: (\S+)@(\S+)", line) for file in WORKFLOWS for line in file.read_text().splitlines()}
    pins = {match.groups() for match in found if match}
    assert len(pins) == len({name for name, _ in pins})


def test_a_workflow_may_do_nothing_and_a_job_only_what_it_says() -> None:
    assert {file.name: loaded(file)["permissions"] for file in WORKFLOWS} == {file.name: {} for file in WORKFLOWS}
    rights = {
        (file.name, name, right)
        for file in WORKFLOWS
        for name, job in loaded(file)["jobs"].items()
        for right, value in job["permissions"].items()
        if value == "write"
    }
    assert rights == {
        ("release.yml", "image", "attestations"),
        ("release.yml", "image", "id-token"),
        ("release.yml", "notes", "contents"),
    }


def test_no_job_may_run_for_ever() -> None:
    jobs = [job for file in WORKFLOWS for job in loaded(file)["jobs"].values() if "uses" not in job]
    assert [job for job in jobs if not 0 < job.get("timeout-minutes", 0) <= 90] == []


def test_every_target_and_script_that_is_run_exists() -> None:
    text = "\n".join(file.read_text() for file in WORKFLOWS)
    called = set(re.findall(r"make (?:-C \w+ )?([a-z][a-z0-9-]*)", text))
    assert {"lint", "lint-ops", "test", "test-integration", "test-k8s"} <= called
    assert called - TARGETS == set()
    scripts = set(re.findall(r"(?:scripts|docker)/[\w./-]+\.py|docker/Dockerfile", text))
    assert "scripts/deploy.py" in scripts
    assert [name for name in scripts if not (ROOT / name).exists()] == []


def test_production_waits_for_everything_before_it() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    before, open_ = set(), ["production"]
    while open_:
        needs = jobs[open_.pop()].get("needs", [])
        for name in [needs] if isinstance(needs, str) else needs:
            before.add(name)
            open_.append(name)
    assert before == {"ci", "image", "scan", "staging"}


def test_a_dearer_full_path_fails_and_a_slower_machine_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def result(name: str, ratio: float) -> str:
        file = tmp_path / name
        file.write_text(json.dumps({"cases": {"full_path": {"ratios": {"faust_pass_through": {"median": ratio}}}}}))
        return str(file)

    assert main([result("a", 0.40), result("b", 0.459)]) == 0
    assert main([result("a", 0.40), result("b", 0.461)]) == 1
    assert "0.400 before, 0.461 after, +15.3%; at most +15% is allowed" in capsys.readouterr().out
    assert main([result("a", 0.40), result("b", 0.461), "--allowed", "0.2"]) == 0
    (tmp_path / "c").write_text("{}")
    assert main([result("a", 0.40), str(tmp_path / "c")]) == 2
    assert "expected what `python -m benchmarks --json` writes" in capsys.readouterr().err
