"""Scenarios in which the network loses what the broker says, or everything."""

from __future__ import annotations

import asyncio

from tests.chaos.bed import Bed, ScenarioError
from tests.chaos.scenario import Scenario
from tests.servers.line import ADD_OFFSETS, END_TXN, PRODUCE, TXN_OFFSET_COMMIT, Line

LOST = (END_TXN, TXN_OFFSET_COMMIT, PRODUCE, ADD_OFFSETS)
ROUNDS = 3
CUT_S = 4.0
BACK_WITHIN_S = 15.0


def _line(bed: Bed) -> Line:
    assert bed.line is not None, "this scenario needs a line"
    return bed.line


async def _lost_answers(bed: Bed) -> None:
    """The broker has committed and the worker does not know, and so on."""
    line = _line(bed)
    for _ in range(ROUNDS):
        for request in LOST:
            line.lose_answer(request)
            await asyncio.sleep(bed.chance.uniform(1.5, 3.0))
    if missing := [request for request in LOST if not line.lost.get(request)]:
        raise ScenarioError(f"expected an answer to each of the requests {LOST} to be lost, none to {missing}")


async def _cuts(bed: Bed) -> None:
    line = _line(bed)
    for _ in range(ROUNDS):
        line.cut()
        await asyncio.sleep(CUT_S)
        line.mend()
        bed.mark("back")
        await asyncio.sleep(BACK_WITHIN_S)


LOST_ANSWERS = Scenario(
    "answers lost",
    _lost_answers,
    has_line=True,
    about="the broker commits, takes offsets or verdicts, and its answer is lost with the connection",
)
CUTS = Scenario(
    "line cut",
    _cuts,
    has_line=True,
    resumed_s=BACK_WITHIN_S,
    about=f"no connection to the broker for {CUT_S:.0f} s, {ROUNDS} times",
)
