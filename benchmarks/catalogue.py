"""Every case there is, in the order of the table."""

from __future__ import annotations

from benchmarks.cases import CASES, FULL_PATH, Case
from benchmarks.own_cases import OWN_CASES
from benchmarks.peer_cases import PEER_CASES

_FULL = tuple(case for case in CASES if case.name == FULL_PATH)
ALL_CASES: tuple[Case, ...] = (*(case for case in CASES if case not in _FULL), *PEER_CASES, *_FULL, *OWN_CASES)
BY_NAME = {case.name: case for case in ALL_CASES}
