"""Whether this process gets the memory and the CPU that a worker with these settings needs; measured, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from fraudstream.cli.check import Check
from fraudstream.detector import time_predictions, try_out
from fraudstream.errors import ModelError
from fraudstream.limits import cpu_limit_cores, machine_bytes, memory_limit_bytes, resident_bytes, times_throttled
from fraudstream.pipeline import Detector
from fraudstream.settings import Settings
from fraudstream.state.event import EVENT_WORDS
from fraudstream.state.profile import HEADER_WORDS, RING_EVENTS, WORD_BYTES

MEASURED_S = 2.0
ASKED_EVERY_S = 0.001
SLOW_S = 0.025
"""A prediction that takes longer has waited for a core: by itself it needs less than 1 ms."""
WRITE_BUFFERS = 2
"""RocksDB fills one while it writes another to the disk."""
OVERHEAD_BYTES = 270
"""Key and bookkeeping of a profile in memory, beside its record (python -m benchmarks.footprint)."""
USUAL_EVENTS = 11
USUAL_PROFILE_BYTES = (HEADER_WORDS + EVENT_WORDS * USUAL_EVENTS) * WORD_BYTES + OVERHEAD_BYTES
LARGEST_PROFILE_BYTES = (HEADER_WORDS + EVENT_WORDS * RING_EVENTS) * WORD_BYTES + OVERHEAD_BYTES
MIB = 1024 * 1024


def capacity(settings: Settings, detector: Detector) -> Iterator[Check]:
    """Checks of a process that has loaded its model."""
    throttled = times_throttled()
    try:
        try_out(detector)
        taken_s = sorted(as_asked(time_predictions(detector, MEASURED_S)))
    except ModelError as error:
        yield Check("prediction", "failed", str(error), "train the model again on a machine of this kind")
        return
    yield prediction_check(taken_s, times_throttled() - throttled, cpu_limit_cores())
    rocksdb = rocksdb_bytes(settings)  # brings Faust and RocksDB into this process, which a worker has too
    yield memory_check(settings, resident_bytes(), rocksdb, memory_limit_bytes())


def as_asked(taken_s: Iterable[float]) -> Iterator[float]:
    """What those would have waited who ask on a schedule: behind one that takes long, the next ones wait as well."""
    for one_s in taken_s:
        yield one_s
        waits_s = one_s - ASKED_EVERY_S
        while waits_s > 0:
            yield waits_s
            waits_s -= ASKED_EVERY_S


def prediction_check(taken_s: list[float], throttled: int, limit_cores: float | None) -> Check:
    """How long a payment takes.

    Args:
        taken_s: seconds of each prediction, in rising order.
        throttled: how often the CPU limit stopped this process meanwhile.
        limit_cores: None where there is none.
    """
    slow_s = taken_s[len(taken_s) * 99 // 100]
    found = f"one payment takes {median(taken_s) * 1000:.1f} ms, 1 in 100 takes {slow_s * 1000:.1f} ms or more"
    if limit_cores is not None:
        found += f"; the CPU limit of {limit_cores:g} cores stopped this process {throttled} times meanwhile"
    if slow_s < SLOW_S:
        return Check("prediction", "ok", found)
    todo = (
        "raise the CPU limit, or take it away and keep the request"
        if throttled
        else "see what else uses the CPU, and give this process a core of its own"
    )
    return Check("prediction", "ok", f"slow: {found}", todo)


def rocksdb_bytes(settings: Settings) -> int:
    """What RocksDB may hold in memory for all partitions."""
    from fraudstream.tables.store import BLOCK_CACHE_BYTES, WRITE_BUFFER_BYTES

    return settings.topic_partitions * (BLOCK_CACHE_BYTES + WRITE_BUFFERS * WRITE_BUFFER_BYTES)


def memory_check(settings: Settings, resident: int, rocksdb: int, limit: int | None) -> Check:
    """Whether what a worker needs fits.

    Args:
        resident: bytes of this process, with model and libraries loaded and no profile.
        rocksdb: bytes that RocksDB may take.
        limit: bytes of the container, None where there is none.
    """
    kept = settings.profile_cache_size
    # One worker seldom owns all partitions, and RocksDB fills its share as it needs it: that is not held against it.
    needed, most = resident + kept * USUAL_PROFILE_BYTES, resident + rocksdb + kept * LARGEST_PROFILE_BYTES
    allowed = machine_bytes() if limit is None else limit
    found = (
        f"{'the machine has' if limit is None else 'the limit is'} {allowed / MIB:,.0f} MiB; libraries and model take "
        f"{resident / MIB:,.0f}, RocksDB up to {rocksdb / MIB:,.0f}, PROFILE_CACHE_SIZE={kept} usually "
        f"{kept * USUAL_PROFILE_BYTES / MIB:,.0f} and at most {kept * LARGEST_PROFILE_BYTES / MIB:,.0f}"
    )
    fits = max((allowed - resident - rocksdb) // LARGEST_PROFILE_BYTES, 0)
    todo = f"give it {most / MIB:,.0f} MiB" + (f", or set PROFILE_CACHE_SIZE to at most {fits}" if fits else "")
    return Check("memory", "failed" if needed > allowed else "ok", found, todo if most > allowed else "")
