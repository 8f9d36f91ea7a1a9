"""Judges what a worker may meet after its start, and prints which kernels had to be compiled or loaded for it then."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace

from numba.core.dispatcher import Dispatcher

from fraudstream.agents.scoring import Scoring
from fraudstream.detector import load_detector, warm_up
from fraudstream.settings import load_settings
from tests.fetched import fetched_batch
from tests.unit.test_pipeline import START_S, message
from tests.unit.test_scoring import Chunk, LedgerProducer, LedgerProducers, MemoryStore, scoring_of


def main() -> None:
    """Prints the kernels and how many transactions were judged or refused, as JSON."""
    detector = load_detector(load_settings())
    warm_up(detector)
    gc.unfreeze()  # else the collector does not know the kernels
    before = known()
    scoring = scoring_of(detector, LedgerProducers({0: LedgerProducer(), 1: LedgerProducer()}), MemoryStore())
    asyncio.run(judge(scoring))
    late = sorted(name for name, count in known().items() if count != before.get(name, 0))
    print(json.dumps([late, scoring.processed]))


def known() -> dict[str, int]:
    """Kernels and for how many kinds of arguments each is there."""
    kernels = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {f"{one.py_func.__module__}.{one.py_func.__qualname__}": len(one.signatures) for one in kernels}


async def judge(scoring: Scoring) -> None:
    """Several users and partitions, an amount that is flagged, messages that are refused."""
    for at in range(4):
        messages = [message(10 * at + n, f"u{n % 4}", timestamp=START_S + 10 * at + n) for n in range(9)]
        messages.append(message(10 * at + 9, "u1", amount=9_999.0, timestamp=START_S + 3 * at))
        broken = replace(message(at, "u1", partition=1), value=b"{" if at % 2 else None)
        scoring.hand_over(Chunk([fetched_batch(messages[:4]), fetched_batch(messages[4:])]))
        scoring.hand_over(Chunk([fetched_batch([broken])]))
        await scoring.take()
    await scoring.settle()


if __name__ == "__main__":
    main()
