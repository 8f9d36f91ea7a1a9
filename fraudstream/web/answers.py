"""Answers that were given, so that the same request gets the same bytes; kept in this process, bounded and for a while.

A store outside (`AnswerStore` of service.py) takes its place where several processes answer.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from fraudstream.transaction import Transaction, encode_transaction
from fraudstream.web.service import KeptAnswer

FINGERPRINT_BYTES = 16


def fingerprint_of(transaction: Transaction) -> bytes:
    """Tells transactions apart by what is read of them: blanks, unknown fields and the order of keys do not count."""
    return blake2b(encode_transaction(transaction), digest_size=FINGERPRINT_BYTES).digest()


class AnswersInMemory:
    """The newest answers.

    Args:
        most: how many; the oldest go first. 0: none.
        ttl_s: how long each is kept.
        clock: seconds, only forward.
    """

    def __init__(self, most: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, KeptAnswer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, transaction_ids: Sequence[str]) -> list[KeptAnswer | None]:
        """The answers that were given, in the order of the ids."""
        self._drop_old()
        return [kept[1] if (kept := self._kept.get(one)) is not None else None for one in transaction_ids]

    async def keep(self, answers: Mapping[str, KeptAnswer]) -> Mapping[str, KeptAnswer]:
        """Keeps answers; returns those that hold from now on: the first one to a transaction stays."""
        self._drop_old()
        held: dict[str, KeptAnswer] = {}
        for one, answer in answers.items():
            until_s, kept = self._kept.get(one, (self._clock() + self._ttl_s, answer))
            if answer.recorded and not kept.recorded and answer.fingerprint == kept.fingerprint:
                kept = replace(kept, recorded=True)
            self._kept[one] = until_s, kept
            held[one] = kept
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return held

    def _drop_old(self) -> None:
        now_s = self._clock()
        # All live equally long, and an answer keeps its place: the oldest stand in front.
        while self._kept and next(iter(self._kept.values()))[0] <= now_s:
            self._kept.popitem(last=False)
