"""The registry keeps every version as it was, never loses a promotion, and refuses what a worker could not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fraudstream.cli.main import main
from fraudstream.errors import ModelError, ModelMismatch, SettingsError
from fraudstream.score.artifact import DEFAULT_MODEL, MANIFEST_FILE, TENSOR_FILE, read_manifest
from fraudstream.score.files import lock_file
from fraudstream.score.registry import LOCK_FILE, METRICS_FILE, PROMOTED_FILE, VERSIONS_FOLDER, Registry
from fraudstream.settings import load_settings
from tests.checkout import ROOT
from tests.models import other_model

DEFAULT = read_manifest(DEFAULT_MODEL).model_version
MODELS = 4

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Directories of models of different versions."""
    folder = tmp_path_factory.mktemp("models")
    return [other_model(folder / f"model-{number}", number) for number in range(1, MODELS + 1)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def version_of(model: Path) -> str:
    return read_manifest(model).model_version


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def changed_manifest(directory: Path, **changes: Any) -> Path:
    path = directory / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return directory


# Adding


def test_an_added_model_is_kept_byte_for_byte_with_its_metrics_and_may_be_read_by_others(
    registry: Registry, tmp_path: Path
) -> None:
    model = other_model(tmp_path / "model")
    (model / METRICS_FILE).write_text('{"test": {"auc": 0.97}}', encoding="utf-8")
    (model / "notes.txt").write_text("not part of the model", encoding="utf-8")
    assert registry.add(model) == (version_of(model), True)
    entry = registry.entry(version_of(model))
    assert files_of(entry.directory) == {
        name: (model / name).read_bytes() for name in (MANIFEST_FILE, TENSOR_FILE, METRICS_FILE)
    }
    assert entry.metrics == {"test": {"auc": 0.97}}
    assert registry.promotions().version is None
    umask = os.umask(0o022)
    os.umask(umask)
    assert entry.directory.stat().st_mode & 0o777 == 0o777 & ~umask, "workers run as another user"


def test_a_model_that_is_there_already_is_not_copied_again(registry: Registry, models: list[Path]) -> None:
    version, _ = registry.add(models[0])
    before = (registry.entry(version).directory / TENSOR_FILE).stat()
    assert registry.add(models[0]) == (version, False)
    after = (registry.entry(version).directory / TENSOR_FILE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_model_under_a_registered_name_is_refused(
    registry: Registry, tmp_path: Path, models: list[Path]
) -> None:
    registry.add(models[0])
    impostor = changed_manifest(other_model(tmp_path / "impostor", 9), model_version=version_of(models[0]))
    with pytest.raises(ModelMismatch, match="other files under the same name"):
        registry.add(impostor)


@pytest.mark.parametrize("name", ["../../escaped", "/absolute", ".hidden", ""])
def test_a_manifest_cannot_lead_out_of_the_registry(registry: Registry, tmp_path: Path, name: str) -> None:
    model = changed_manifest(other_model(tmp_path / "model"), model_version=name)
    with pytest.raises(ModelMismatch, match="plain names"):
        registry.add(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "registry"]


def test_a_damaged_model_is_refused_and_leaves_nothing_behind(registry: Registry, tmp_path: Path) -> None:
    model = other_model(tmp_path / "model")
    with (model / TENSOR_FILE).open("r+b") as file:
        file.seek(5_000)
        file.write(b"\x00\x01\x02\x03")
    with pytest.raises(ModelMismatch, match="SHA-256"):
        registry.promote(str(model))
    assert registry.entries() == []
    assert list((registry.directory / VERSIONS_FOLDER).iterdir()) == []
    assert not (registry.directory / PROMOTED_FILE).exists()


def test_what_a_killed_process_left_half_copied_is_no_version_and_is_cleared_away(
    registry: Registry, models: list[Path]
) -> None:
    registry.add(models[0])
    left_over = registry.directory / VERSIONS_FOLDER / ".adding-0"
    left_over.mkdir()
    (left_over / TENSOR_FILE).write_bytes(b"half")
    assert [entry.version for entry in registry.entries()] == [version_of(models[0])]
    registry.add(models[1])
    assert not left_over.exists()


# Promoting


def test_a_registered_model_that_went_bad_is_not_promoted(registry: Registry, models: list[Path]) -> None:
    registry.promote(str(models[0]))
    version, _ = registry.add(models[1])
    (registry.entry(version).directory / TENSOR_FILE).write_bytes(b"rotten")
    with pytest.raises(ModelMismatch, match="SHA-256"):
        registry.promote(version)
    assert registry.promotions().version == version_of(models[0])


def test_a_model_of_another_feature_catalogue_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    model = changed_manifest(other_model(tmp_path / "model"), catalogue_hash="0" * 64)
    with pytest.raises(ModelMismatch, match="feature catalogue"):
        registry.promote(str(model))


def test_a_refusal_names_the_directory_that_was_given_and_not_a_copy_of_it(registry: Registry, tmp_path: Path) -> None:
    model = other_model(tmp_path / "model")
    (model / TENSOR_FILE).write_bytes(b"rotten")
    with pytest.raises(ModelMismatch) as caught:
        registry.promote(str(model))
    assert str(caught.value).startswith(f"{model / TENSOR_FILE}: ")


def test_a_renamed_version_is_not_promoted(registry: Registry, models: list[Path]) -> None:
    version, _ = registry.add(models[0])
    directory = registry.entry(version).directory
    directory.rename(directory.with_name("renamed"))
    with pytest.raises(ModelMismatch, match="its manifest says"):
        registry.promote("renamed")


def test_a_rollback_to_a_model_that_went_bad_changes_nothing(registry: Registry, models: list[Path]) -> None:
    registry.promote(str(models[0]))
    registry.promote(str(models[1]))
    (registry.entry(version_of(models[0])).directory / TENSOR_FILE).unlink()
    with pytest.raises(ModelError, match="expected a file of a model"):
        registry.rollback()
    assert registry.promotions().version == version_of(models[1])
    assert len(registry.promotions().history) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 3}', b'{"history": [{"at": "x"}]}', b"\xff"])
def test_promotions_that_cannot_be_read_are_refused_and_not_overwritten(
    registry: Registry, models: list[Path], content: bytes
) -> None:
    version, _ = registry.add(models[0])
    (registry.directory / PROMOTED_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=PROMOTED_FILE):
        registry.promote(version)
    assert (registry.directory / PROMOTED_FILE).read_bytes() == content


def test_a_lock_that_another_process_holds_is_waited_for_and_named(tmp_path: Path) -> None:
    with (
        lock_file(tmp_path / LOCK_FILE),
        pytest.raises(ModelError, match="another process holds it"),
        lock_file(tmp_path / LOCK_FILE, timeout_s=0.2),
    ):
        pytest.fail("two holders")


def test_a_promotion_waits_for_whoever_changes_the_registry(registry: Registry, models: list[Path]) -> None:
    registry.promote(str(models[0]))
    with ThreadPoolExecutor(1) as pool:
        with lock_file(registry.directory / LOCK_FILE):
            promoting = pool.submit(registry.promote, str(models[1]))
            with pytest.raises(TimeoutError):
                promoting.result(timeout=1.0)
            assert registry.promotions().version == version_of(models[0]), "readers need no lock"
        promotion = promoting.result(timeout=20.0)
    assert promotion is not None
    assert promotion.from_version == version_of(models[0])


PROMOTE_IN_TURN = """
import sys
from pathlib import Path
from fraudstream.score.registry import Registry

registry = Registry(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for at in range(int(sys.argv[2])):
    registry.promote(sys.argv[3 + at % 2], note=f"{sys.argv[5]}-{at}")
"""


def test_promotions_of_two_processes_at_once_are_all_kept(registry: Registry, models: list[Path]) -> None:
    versions = [registry.add(model)[0] for model in models]
    each = 12
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE_IN_TURN, str(registry.directory), str(each), *pair, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for name, pair in (("left", versions[:2]), ("right", versions[2:]))
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    while any(process.poll() is None for process in processes):
        registry.promotions()  # a reader never meets half a file
    assert [process.communicate()[0] or process.returncode for process in processes] == [0, 0]
    promotions = registry.promotions()
    for name in ("left", "right"):
        notes = [one.note for one in promotions.history if one.note.startswith(name)]
        assert notes == [f"{name}-{at}" for at in range(each)]
    assert len(promotions.history) == 2 * each
    assert promotions.version == promotions.history[-1].to_version
    for earlier, later in zip(promotions.history, promotions.history[1:], strict=False):
        assert later.from_version == earlier.to_version, "one promotion did not know of the other"


class PromotionHistory(RuleBasedStateMachine):
    """The registry against a plain stack of promoted versions."""

    models: list[Path]
    directory: Path
    runs = 0

    @initialize()
    def start(self) -> None:
        type(self).runs += 1
        self.registry = Registry(self.directory / str(self.runs))
        self.stack: list[str] = []
        self.changes = 0
        for model in self.models:
            self.registry.add(model)

    @rule(number=st.integers(0, MODELS - 1), note=st.text(max_size=10))
    def promote(self, number: int, note: str) -> None:
        version = version_of(self.models[number])
        done = self.registry.promote(version, note)
        if self.stack and self.stack[-1] == version:
            assert done is None
            return
        assert done is not None
        assert (done.from_version, done.to_version) == (self.stack[-1] if self.stack else None, version)
        assert done.note == note
        self.stack.append(version)
        self.changes += 1

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def rollback(self) -> None:
        done = self.registry.rollback()
        assert (done.from_version, done.to_version) == (self.stack[-1], self.stack[-2])
        self.stack.pop()
        self.changes += 1

    @precondition(lambda self: len(self.stack) < 2)
    @rule()
    def rollback_with_nothing_before(self) -> None:
        with pytest.raises(ModelError, match="there is none"):
            self.registry.rollback()

    @invariant()
    def the_promoted_version_is_the_top_of_the_stack(self) -> None:
        promotions = self.registry.promotions()
        assert promotions.version == (self.stack[-1] if self.stack else None)
        assert len(promotions.history) == self.changes


def test_promotions_and_rollbacks_are_a_stack(models: list[Path], tmp_path: Path) -> None:
    PromotionHistory.models, PromotionHistory.directory = models, tmp_path
    PromotionHistory.TestCase.settings = settings(
        max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )
    PromotionHistory.TestCase("runTest").runTest()


# Settings and commands


def test_a_model_directory_and_a_registry_together_are_refused_unless_a_command_names_one(tmp_path: Path) -> None:
    environment = {"MODEL_DIR": str(DEFAULT_MODEL), "MODEL_REGISTRY": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SettingsError, match="expected one of them"):
            load_settings()
        assert load_settings(model_dir=tmp_path).model_registry is None
        assert load_settings(model_registry=tmp_path).model_dir is None
        patch.setenv("MODEL_DIR", "")
        assert load_settings().model_dir is None, "an empty variable is an absent one"


def run(registry: Registry, *arguments: object) -> Result:
    environment = {"MODEL_REGISTRY": str(registry.directory)}
    return CliRunner().invoke(main, ["models", *map(str, arguments)], env=environment)


def test_the_commands_tell_what_is_promoted_and_how_it_came_to_that(
    registry: Registry, tmp_path: Path, models: list[Path]
) -> None:
    (models[1] / METRICS_FILE).write_text('{"test": {"auc": 0.97321, "frauds": 12, "ok": true}}', encoding="utf-8")
    first, second, told = version_of(models[0]), version_of(models[1]), tmp_path / "told.json"

    def result() -> Any:
        return json.loads(told.read_text(encoding="utf-8"))

    assert run(registry, "add", models[0]).exit_code == 0
    assert run(registry, "promote", first, "--json", told).exit_code == 0
    assert result()["changed"]
    assert "promoted already" in run(registry, "promote", first, "--json", told).output
    assert not result()["changed"]
    assert run(registry, "promote", models[1], "--note", "learnt May").exit_code == 0
    shown = run(registry, "list", "--json", told)
    assert "test.auc 0.9732" in shown.output
    assert [(one["version"], one["promoted"]) for one in result()["versions"]] == sorted(
        [(first, False), (second, True)]
    )
    shown = run(registry, "show", second, "--json", told)
    assert f"{second} (promoted)" in shown.output
    assert "learnt May" in shown.output
    assert result()["manifest"]["training"]["rows"] > 0
    assert result()["metrics"]["test"]["frauds"] == 12
    assert run(registry, "rollback", "--note", "too many alerts", "--json", told).exit_code == 0
    assert (result()["promoted"], result()["promotion"]["from"]) == (first, second)


def test_a_version_that_cannot_be_read_is_listed_with_the_reason(registry: Registry, models: list[Path]) -> None:
    version, _ = registry.add(models[0])
    registry.add(models[2])
    (registry.entry(version).directory / MANIFEST_FILE).write_text("{", encoding="utf-8")
    shown = run(registry, "list")
    assert shown.exit_code == 0, shown.output
    assert "cannot be used" in shown.output
    assert version_of(models[2]) in shown.output
    assert run(registry, "show", version).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "expected a directory"),
        (["show", "m-none"], "expected a directory"),
        (["promote", "m-none"], "it is neither"),
        (["add", "no-such-directory"], "no-such-directory"),
        (["rollback"], "there is none"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(registry: Registry, arguments: list[str], said: str) -> None:
    ended = run(registry, *arguments)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("fraudstream: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


def test_without_a_registry_the_commands_say_what_to_set() -> None:
    ended = CliRunner().invoke(main, ["models", "list"])
    assert ended.exit_code == 2
    assert "MODEL_REGISTRY" in ended.stderr
