"""The troubleshooting of docs/operations.md shows what `fraudstream doctor` really says in each case."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fraudstream.cli.check import Check
from fraudstream.cli.doctor_capacity import MIB, as_asked, memory_check, prediction_check
from fraudstream.score.artifact import DEFAULT_MODEL
from fraudstream.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BLOCKS = re.compile(r"```text\n(\w+) +(\w+) +(.*?)\n```", re.DOTALL)
RUNS_S, STANDS_S = 0.02, 0.06

pytestmark = pytest.mark.usefixtures("plain_environment")


def doctor(directory: Path, *, hindered: bool = False, **environment: str) -> dict[str, Check]:
    """Its checks by name; hindered, the process is stopped again and again, as a CPU limit does it."""
    told = directory / "doctor.json"
    command = [sys.executable, "-m", "fraudstream.cli.main", "doctor", "--json", str(told)]
    process = subprocess.Popen(
        command, env={**os.environ, "DATA_DIR": str(directory), **environment}, stdout=subprocess.DEVNULL
    )
    while hindered and process.poll() is None:
        time.sleep(RUNS_S)
        process.send_signal(signal.SIGSTOP)
        time.sleep(STANDS_S)
        process.send_signal(signal.SIGCONT)
    process.wait(120)
    return {check["name"]: Check(**check) for check in json.loads(told.read_text(encoding="utf-8"))["checks"]}


def shown(name: str) -> list[str]:
    """What the page shows of a check, one text a block."""
    blocks = BLOCKS.findall(PAGE.read_text(encoding="utf-8"))
    return [plain(f"{status} {text}") for check, status, text in blocks if check == name]


def said(check: Check) -> str:
    return plain(f"{check.status} {check.found} -> {check.todo}")


def plain(text: str) -> str:
    """Without what differs from machine to machine: numbers, hashes, directories, line breaks."""
    text = re.sub(r"\b[0-9a-f]{12}…", "HASH", " ".join(text.split()))
    return re.sub(r"[0-9][0-9.,]*[0-9]|[0-9]", "N", re.sub(r"(?<![\w/])/[\w/.-]+/", "DIR/", text))


def test_a_model_that_was_changed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEFAULT_MODEL, model)
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert said(doctor(tmp_path, MODEL_DIR=str(model))["model"]) in shown("model")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    assert said(doctor(tmp_path, MODEL_DIR=str(tmp_path / "model"))["model"]) in shown("model")


def test_kafka_that_nobody_answers_for(tmp_path: Path) -> None:
    assert said(doctor(tmp_path, KAFKA_SERVERS="127.0.0.1:1")["kafka"]) in shown("kafka")


def test_profiles_for_which_there_is_no_memory(tmp_path: Path) -> None:
    found = doctor(tmp_path, PROFILE_CACHE_SIZE="900000000")["memory"]
    assert found.status == "failed"
    assert said(found).replace("the machine has N MiB", "the limit is N MiB") in shown("memory")


def test_a_process_that_has_to_wait_for_the_cpu(tmp_path: Path) -> None:
    assert doctor(tmp_path)["prediction"].status == "ok"
    hindered = doctor(tmp_path, hindered=True)["prediction"]
    assert "slow: " in hindered.found
    limited = re.sub(r"; the CPU limit of .* meanwhile", "", hindered.found)
    assert any(plain(limited) in text for text in shown("prediction"))
    assert hindered.todo


def test_whoever_would_have_asked_meanwhile_counts_as_well() -> None:
    assert list(as_asked([0.0005, 0.0035])) == pytest.approx([0.0005, 0.0035, 0.0025, 0.0015, 0.0005])


def test_a_cpu_limit_that_stopped_the_process_is_named() -> None:
    check = prediction_check([0.001] * 95 + [0.07] * 5, 11, 0.3)
    assert said(check) in shown("prediction")


def test_memory_within_the_limit_asks_for_nothing() -> None:
    settings = Settings.model_construct()
    assert memory_check(settings, 700 * MIB, 256 * MIB, 4096 * MIB).todo == ""
    near = memory_check(settings, 700 * MIB, 256 * MIB, 1100 * MIB)
    assert near.status == "ok"
    assert "PROFILE_CACHE_SIZE to at most" in near.todo
    assert memory_check(settings, 700 * MIB, 256 * MIB, 720 * MIB).status == "failed"
