"""A standstill is held against a process only where a restart could mend it."""

from __future__ import annotations

import pytest

from fraudstream.agents import membership
from fraudstream.agents.liveness import Liveness, Work
from fraudstream.agents.membership import Membership
from fraudstream.settings import Settings

LIMIT_S = 60.0
WORK = Work(("judged", 5), "transactions wait and none is judged")


class Situation:
    """A process that a test sets still."""

    def __init__(self) -> None:
        self.work: Work | None = WORK
        self.has_broker = True
        self.liveness = Liveness(LIMIT_S, lambda: self.work, self._answers)

    async def _answers(self) -> bool:
        return self.has_broker

    async def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.liveness.look(1.0)

    @property
    def is_alive(self) -> bool:
        return self.liveness.report().alive


@pytest.fixture
async def situation() -> Situation:
    situation = Situation()
    await situation.liveness.look(0.0)
    return situation


async def test_a_standstill_of_the_limit_is_not_alive_and_says_what_stands(situation: Situation) -> None:
    await situation.wait(int(LIMIT_S) - 1)
    assert situation.is_alive
    await situation.wait(1)
    report = situation.liveness.report()
    assert not report.alive
    assert report.problem == "transactions wait and none is judged, for 60 s while the broker answers"


async def test_who_gets_on_slowly_is_alive(situation: Situation) -> None:
    for judged in range(20):
        situation.work = Work(("judged", judged), "")
        await situation.wait(int(LIMIT_S) - 1)
        assert situation.is_alive


async def test_who_has_nothing_to_do_is_alive(situation: Situation) -> None:
    situation.work = None
    await situation.wait(10 * int(LIMIT_S))
    assert situation.is_alive
    assert situation.liveness.still_s == 0


async def test_a_broker_that_is_away_is_nobodys_fault_but_gives_no_excuse_for_later(situation: Situation) -> None:
    situation.has_broker = False
    await situation.wait(10 * int(LIMIT_S))
    assert situation.is_alive
    assert situation.liveness.still_s == 10 * LIMIT_S, "it stands still all the same, and is not ready"
    situation.has_broker = True
    await situation.wait(int(LIMIT_S))
    assert not situation.is_alive


async def test_who_gets_on_again_is_alive_again(situation: Situation) -> None:
    await situation.wait(int(LIMIT_S))
    assert not situation.is_alive
    situation.work = Work(("judged", 6), "")
    await situation.wait(1)
    assert situation.is_alive


class Coordinator:
    """As much of the client's group coordinator as a membership listens to."""

    def __init__(self) -> None:
        self.resets = 0

    async def _do_heartbeat(self) -> bool:
        self.reset_generation()
        return False

    async def _on_join_complete(self) -> None:
        """Nothing to do."""

    async def _maybe_leave_group(self) -> None:
        self.reset_generation()

    def reset_generation(self) -> None:
        self.resets += 1

    def request_rejoin(self) -> None:
        """Nobody joins here."""

    def _push_error_to_user(self, error: Exception) -> None:
        """Nobody is told."""


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []

    def stop(reason: str, code: int) -> None:
        said.append(f"{code}: {reason}")
        raise StoppedError

    monkeypatch.setattr(membership, "stop_process", stop)
    return said


async def test_a_static_member_that_was_replaced_ends_and_does_not_join_again(
    own_settings: Settings, said: list[str]
) -> None:
    coordinator = Coordinator()
    Membership(own_settings.model_copy(update={"kafka_group_instance_id": "a"})).watch(coordinator)
    with pytest.raises(StoppedError):
        await coordinator._do_heartbeat()
    assert coordinator.resets == 0
    assert said[0].startswith("75: stops: another process has joined with KAFKA_GROUP_INSTANCE_ID=a")


async def test_a_static_member_that_was_silent_for_too_long_says_so(own_settings: Settings, said: list[str]) -> None:
    settings = own_settings.model_copy(update={"kafka_group_instance_id": "a", "kafka_session_timeout_s": 0.0})
    coordinator = Coordinator()
    Membership(settings).watch(coordinator)
    with pytest.raises(StoppedError):
        await coordinator._do_heartbeat()
    assert "longer than KAFKA_SESSION_TIMEOUT_S" in said[0]


async def test_who_leaves_or_has_no_name_of_its_own_goes_on(own_settings: Settings, said: list[str]) -> None:
    coordinator = Coordinator()
    Membership(own_settings.model_copy(update={"kafka_group_instance_id": "a"})).watch(coordinator)
    await coordinator._maybe_leave_group()
    assert coordinator.resets == 1
    coordinator = Coordinator()
    Membership(own_settings).watch(coordinator)
    await coordinator._do_heartbeat()
    assert coordinator.resets == 1
    assert not said


async def test_what_the_group_refuses_for_good_is_told_until_it_is_joined(own_settings: Settings) -> None:
    coordinator, member = Coordinator(), Membership(own_settings)
    member.watch(coordinator)
    coordinator._push_error_to_user(ValueError("InvalidSessionTimeoutError"))
    assert member.problem == "InvalidSessionTimeoutError"
    await coordinator._on_join_complete()
    assert member.problem is None
