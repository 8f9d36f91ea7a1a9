"""What the HTTP routes need of the process they run in, a Faust worker or `fraudstream api`; no route stands here.

A process calls `fraudstream.web.mount.mount(app, service)` once, before the aiohttp application starts, and
`await fraudstream.web.mount.drain(app)` when it is told to stop. Its application needs no settings of its own: limits,
errors and keys come with `mount`. Other routes on the same application are guarded by
`fraudstream.web.auth.authenticated`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from fraudstream.adapters.metrics import Metrics
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.web.profile_source import ProfileSource

NOT_OWNED = "not_owned"
"""The reason of a RefusedInput from a profile source: another worker has the user and cannot be asked."""


class HealthReport(msgspec.Struct, frozen=True):
    """What /health answers.

    Attributes:
        ready: the process can judge: the model is there, and a worker has partitions and profiles and moves on.
        problems: what is missing, in words.
        model_version: of the model that judges.
        version: of fraudstream.
        role: `worker` judges the stream and answers, `api` only answers.
        partitions: source partitions that this worker owns.
        lag: records that wait in them.
        processed: records judged since the start.
        restored: records of the changelog that the restore under way, or the last one, has read.
        restoring: profiles are being restored now.
        restore_total: records that it has to read at most; markers and what was compacted away are counted too.
        restore_rate: records a second, over the last 10 s while it runs, over all of it afterwards.
        restore_left_s: seconds until its end at this rate; 0 when it is over, null where it cannot be told.
        standby: partitions of other workers whose profiles this one keeps warm.
        standby_behind: changelog offsets of those that are not copied yet; null while that is not known.
        model_problem: why a promoted model is not in use; the process is ready all the same, with the one before it.
    """

    ready: bool
    problems: tuple[str, ...]
    model_version: str
    version: str
    role: Literal["worker", "api"] = "worker"
    partitions: tuple[int, ...] = ()
    lag: int = 0
    processed: int = 0
    restored: int = 0
    restoring: bool = False
    restore_total: int = 0
    restore_rate: float = 0.0
    restore_left_s: float | None = 0.0
    standby: tuple[int, ...] = ()
    standby_behind: int | None = None
    model_problem: str | None = None


class LivenessReport(msgspec.Struct, frozen=True):
    """What /health/live answers.

    Attributes:
        alive: the process gets on, or waits for something that a restart would not bring.
        problem: what stands still, in words.
    """

    alive: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A transaction on its way to the transactions topic.

    Attributes:
        key: the user_id in UTF-8.
        value: the transaction as JSON, as it came.
        timestamp_ms: when it came, milliseconds since 1970; the event time of a transaction that names none.
    """

    key: bytes
    value: bytes
    timestamp_ms: int


class Recorder(Protocol):
    """Produces transactions to the stream."""

    async def record(self, records: Sequence[StreamRecord]) -> list[BrokerProblem | None]:
        """Produces to the transactions topic and waits until every replica in sync has them, at most for seconds.

        Returns:
            For each record None once it is there, or why it is not; one that is not will not come later either.
        """
        ...


BrokerProblem = str
"""Why the broker did not take a record, in one sentence."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that was given.

    Attributes:
        fingerprint: of the transaction that was asked about; another one with the same id is a conflict.
        body: the answer, byte for byte.
        recorded: the transaction was also produced to the stream.
    """

    fingerprint: bytes
    body: bytes
    recorded: bool


class AnswerStore(Protocol):
    """Remembers answers for a while, by transaction_id; what cannot be reached is as if it had nothing, never an error.

    `fraudstream.web.answers.AnswersInMemory` is the one in the process.
    """

    async def find(self, transaction_ids: Sequence[str]) -> list[KeptAnswer | None]:
        """The answers that were given, in the order of the ids."""
        ...

    async def keep(self, answers: Mapping[str, KeptAnswer]) -> Mapping[str, KeptAnswer]:
        """Keeps answers; returns those that hold from now on.

        Where an answer to the same transaction is there already, that one holds; it becomes `recorded` if the new one
        is.
        """
        ...


class Service(Protocol):
    """One process, as its routes see it. Read at each request, so that a swapped detector is used at once."""

    @property
    def settings(self) -> Settings: ...

    @property
    def detector(self) -> Detector:
        """What judges now."""
        ...

    @property
    def profiles(self) -> ProfileSource:
        """Where profiles come from; None or a ConnectionError of it makes an answer without one, marked degraded."""
        ...

    @property
    def recorder(self) -> Recorder | None:
        """Takes transactions for the stream; None: `?record=true` is refused with 503."""
        ...

    @property
    def answers(self) -> AnswerStore | None:
        """Where answers are remembered; None: in this process, within ANSWERS_KEPT and ANSWER_TTL_S."""
        ...

    @property
    def metrics(self) -> Metrics: ...

    def health(self) -> HealthReport:
        """The state of the process now; cheap, asked at every request."""
        ...

    def liveness(self) -> LivenessReport:
        """Whether a restart would mend anything; cheap."""
        ...
