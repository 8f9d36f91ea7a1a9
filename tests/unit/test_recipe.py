"""A training gives the same model however often it was stopped on the way, and never uses work of another one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fraudstream.errors import DataFileError, ModelError, SettingsError
from fraudstream.score.artifact import TENSOR_FILE, load
from fraudstream.training import recipe
from fraudstream.training.checks import DataReport, read_checked
from fraudstream.training.fit import fit
from fraudstream.training.history import History, write
from fraudstream.training.recipe import Advance, Order, train
from fraudstream.training.reference import fit_reference
from fraudstream.training.replay import replay_features
from fraudstream.training.simulate import SimulationSpec, simulate
from fraudstream.training.split import check_borders, enough_rows, first_row
from fraudstream.training.unfinished import FOLDER, finished_steps, work_files

STEPS = ("replay", "forest", "autoencoder", "lstm")
LATENESS_S = 3600


class Watched:
    """Notes what it is shown, and stops a training as Ctrl-C does: when `stop_at` begins, or in the midst of it."""

    def __init__(self, stop_at: str | None = None, in_the_midst: bool = False) -> None:
        self.lines: list[str] = []
        self.steps: list[str] = []
        self._stop_at, self._in_the_midst = stop_at, in_the_midst

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        self.steps.append(what)
        if what == self._stop_at and not self._in_the_midst:
            raise KeyboardInterrupt
        seen = [0]

        def advance(done: int) -> None:
            assert seen[-1] <= done <= total
            seen.append(done)
            if what == self._stop_at and done > 0:
                raise KeyboardInterrupt

        yield advance
        assert seen[-1] == total

    def line(self, text: str) -> None:
        self.lines.append(text)

    def data(self, report: DataReport) -> None:
        self.lines.append(f"{report.used} used")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "stream.parquet"
    write(simulate(SimulationSpec(transactions=1500, users=20, seed=4)), path)
    return path


@pytest.fixture
def order(source: Path, tmp_path: Path) -> Order:
    return Order(source, tmp_path / "model", {}, None, None, 1, LATENESS_S)


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tensors of a training that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed")
    train(Order(source, out, {}, None, None, 1, LATENESS_S), Watched())
    return (out / TENSOR_FILE).read_bytes()


def stop(order: Order, at: str, in_the_midst: bool = False) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(order, Watched(at, in_the_midst))


def test_two_trainings_give_the_same_model_and_another_seed_another(order: Order, undisturbed: bytes) -> None:
    trained = train(order, Watched())
    assert (order.out / TENSOR_FILE).read_bytes() == undisturbed
    other = train(dataclasses.replace(order, seed=2, out=order.out.with_name("other")), Watched())
    assert other.manifest.model_version != trained.manifest.model_version


def test_the_model_is_that_of_a_fit_to_the_replayed_rows(order: Order) -> None:
    history, _ = read_checked(order.source)
    first = first_row(history, None)
    reference = fit_reference(History(history.table.slice(first)))
    replay = replay_features(history, LATENESS_S, reference, skip_rows=first)
    expected = fit(replay.features, replay.sequences, order.seed).score(replay.features, replay.sequences)
    trained = train(order, Watched())
    found = load(order.out).ensemble.score(replay.features, replay.sequences)
    assert (found.anomaly == expected.anomaly).all()
    assert trained.manifest.training.rows == len(replay)


@pytest.mark.parametrize("in_the_midst", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_training_that_was_stopped_goes_on_there_and_gives_the_same_bytes(
    order: Order, undisturbed: bytes, step: str, in_the_midst: bool
) -> None:
    stop(order, step, in_the_midst)
    done = ("reference", *STEPS[: STEPS.index(step)])
    assert finished_steps(order.out) == done
    assert not (order.out / TENSOR_FILE).exists()
    watched = Watched()
    trained = train(order, watched)
    assert (order.out / TENSOR_FILE).read_bytes() == undisturbed
    assert trained.resumed == done
    assert not set(done) & set(watched.steps)
    assert [line for line in watched.lines if "earlier run" in line] == ([f"from an earlier run: {', '.join(done)}"])
    assert sorted(path.name for path in order.out.iterdir()) == ["manifest.json", TENSOR_FILE]


def test_work_may_be_stopped_again_and_again(order: Order, undisturbed: bytes) -> None:
    for step in (*STEPS, *STEPS[1:]):
        with pytest.raises(KeyboardInterrupt):
            train(order, Watched(step) if step not in finished_steps(order.out) else Watched("lstm"))
    assert train(order, Watched()).resumed == ("reference", *STEPS[:-1])
    assert (order.out / TENSOR_FILE).read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"since": "2025-01-20"}, "since"),
        ({"allowed_lateness_s": 60}, "allowed_lateness_s"),
        ({"columns": {"device_id": "user_id"}}, "columns"),
    ],
)
def test_other_options_start_afresh_and_say_so(order: Order, changed: dict[str, object], named: str) -> None:
    stop(order, "lstm")
    watched, other = Watched(), dataclasses.replace(order, **changed)  # type: ignore[arg-type]
    trained = train(other, watched)
    assert trained.resumed == ()
    assert any(f"had other {named}: starting afresh" in line for line in watched.lines)
    alone = train(dataclasses.replace(other, out=order.out.with_name("alone")), Watched())
    assert alone.manifest.model_version == trained.manifest.model_version


def test_other_data_or_code_start_afresh(order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = dataclasses.replace(order, source=tmp_path / "own.csv")
    whole = simulate(SimulationSpec(transactions=1500, users=20, seed=4))
    write(whole, own.source)
    stop(own, "autoencoder")
    write(History(whole.table.slice(0, 1499)), own.source)
    watched = Watched("autoencoder")
    with pytest.raises(KeyboardInterrupt):
        train(own, watched)
    assert any("had other data, rows: starting afresh" in line for line in watched.lines)
    monkeypatch.setattr(recipe, "catalogue_hash", lambda: "another")
    assert train(own, Watched()).resumed == ()


def test_half_written_work_is_thrown_away(order: Order, undisturbed: bytes) -> None:
    stop(order, "autoencoder")
    part = order.out / FOLDER / "autoencoder.safetensors.part"
    part.write_bytes(b"half")
    (order.out / FOLDER / "other.part").mkdir()
    assert finished_steps(order.out) == ("reference", *STEPS[:2])
    train(order, Watched())
    assert (order.out / TENSOR_FILE).read_bytes() == undisturbed


def test_two_trainings_never_share_a_directory(order: Order) -> None:
    with work_files(order.out, {}):
        with pytest.raises(DataFileError, match="another training runs"):
            train(order, Watched())
        assert order.out.exists()


def test_the_manifest_names_the_bytes_of_the_data(order: Order) -> None:
    facts = train(order, Watched()).manifest.training
    assert facts.data_hash == hashlib.sha256(order.source.read_bytes()).hexdigest()
    assert load(order.out).manifest.training == facts


def test_duplicates_are_not_learnt(order: Order, tmp_path: Path, undisturbed: bytes) -> None:
    import pyarrow as pa

    history = simulate(SimulationSpec(transactions=1500, users=20, seed=4))
    last = history.table.slice(1490)
    write(History(pa.concat_tables([history.table, last]).unify_dictionaries()), tmp_path / "twice.parquet")
    trained = train(dataclasses.replace(order, source=tmp_path / "twice.parquet"), Watched())
    assert trained.data.duplicates == 10
    assert trained.manifest.training.rows == 1500 - first_row(history, None)
    assert (order.out / TENSOR_FILE).read_bytes() == undisturbed


# Which rows are learnt from


def test_a_month_warms_up_but_no_more_than_a_third() -> None:
    for days, warm_up_days in ((9, 3), (89, 89 / 3), (200, 30)):
        history = simulate(SimulationSpec(transactions=3000, users=20, seed=4, days=days))
        times_ns = history.numbers("timestamp")
        span_days = (times_ns - times_ns[0]) / 86_400e9
        assert first_row(history, None) == (span_days < min(30, span_days[-1] / 3)).sum()
        assert span_days[first_row(history, None)] == pytest.approx(warm_up_days, abs=1)


def test_since_decides_the_first_row() -> None:
    history = simulate(SimulationSpec(transactions=3000, users=20, seed=4))
    assert first_row(history, "2000-01-01") == 0
    assert first_row(history, "2030-01-01") == len(history)
    assert first_row(history, "2025-01-20") == len(history.between(until="2025-01-20"))
    assert first_row(history.head(0), None) == 0


def test_too_few_rows_are_refused_with_what_would_do() -> None:
    history = simulate(SimulationSpec(transactions=600, users=20, seed=4))
    assert enough_rows(history, "2000-01-01", 500) == 0
    with pytest.raises(ModelError, match=r"expected at least 500 .* of 600 after the first .*; .*--since 2025-01-06T"):
        enough_rows(history, None, 500)
    with pytest.raises(ModelError, match="got 0 of 600 from 2030-01-01 on"):
        enough_rows(history, "2030-01-01", 500)
    with pytest.raises(ModelError, match=r"use a longer file$"):
        enough_rows(history.head(499), "2000-01-01", 500)


def test_borders_must_leave_room_between_them() -> None:
    check_borders("2025-01-01", "2025-01-01T00:00:01")
    check_borders(None, "2025-01-01")
    for until in ("2025-01-01", "2024-12-31", "2025-01-01T00:30:00+01:00"):
        with pytest.raises(SettingsError, match="expected --until after --since"):
            check_borders("2025-01-01", until)
