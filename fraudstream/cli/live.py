"""What a spectator sees of a running stream: a live table on a terminal, plain lines elsewhere; it computes nothing."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fraudstream.cli.stream_client import Outgoing, SeenVerdict, Tally

SHOWN_ALERTS = 12
PLAIN_EVERY_S = 3.0
REFRESH_PER_S = 8


class _Shown(msgspec.Struct, frozen=True, gc=False):
    amount: float
    merchant: str


class LiveView:
    """Shows progress from `with` to its end; `update` is called with whatever came.

    Args:
        console: where to; on no terminal it gets plain lines.
        transactions: all that will be sent, to name amount and merchant of a flagged one.
    """

    def __init__(self, console: Console, transactions: list[Outgoing]) -> None:
        self._console = console
        self._total = len(transactions)
        self._transactions = {each.transaction_id: each.value for each in transactions}
        self._recent: deque[tuple[SeenVerdict, _Shown]] = deque(maxlen=SHOWN_ALERTS)
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, auto_refresh=False, transient=True)
        self._drawn_s = 0.0
        self._seen_any = False

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, tally: Tally, verdicts: list[SeenVerdict]) -> None:
        """Takes new verdicts and draws when it is time."""
        for verdict in [verdict for verdict in verdicts if verdict.flagged][-SHOWN_ALERTS:]:
            self._recent.append((verdict, self._details(verdict)))
        now_s = time.monotonic()
        if self._console.is_terminal:
            if now_s - self._drawn_s >= 1 / REFRESH_PER_S:
                self._drawn_s = now_s
                self._live.update(self._table(tally), refresh=True)
        elif verdicts and not self._seen_any:
            self._drawn_s = now_s
            self._print_line(f"first verdict: {self._sentence(verdicts[0])}")
        elif now_s - self._drawn_s >= PLAIN_EVERY_S and self._seen_any:
            self._drawn_s = now_s
            self._print_line(self._counts(tally))
            if self._recent:
                self._print_line(f"  latest alert: {self._sentence(self._recent[-1][0])}")
        self._seen_any = self._seen_any or bool(verdicts)

    def _print_line(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _counts(self, tally: Tally) -> str:
        return (
            f"{tally.verdicts:,} of {self._total:,} verdicts, {len(tally.flagged):,} flagged, "
            f"{tally.dead_letters:,} dead letters, {tally.events_per_second:,.0f}/s"
        )

    def _details(self, verdict: SeenVerdict) -> _Shown:
        return msgspec.json.decode(self._transactions[verdict.transaction_id], type=_Shown)

    def _sentence(self, verdict: SeenVerdict) -> str:
        details = self._details(verdict)
        return (
            f"{verdict.user_id}, {details.amount:,.2f} at {details.merchant}: "
            f"{verdict.anomaly_type} ({verdict.anomaly_score:.3f}), {verdict.explanation}"
        )

    def _table(self, tally: Tally) -> Group:
        table = Table(expand=True, title="Latest alerts", title_justify="left", box=None, header_style="bold")
        table.add_column("user", no_wrap=True, max_width=22)
        table.add_column("amount", justify="right", no_wrap=True)
        table.add_column("type", style="yellow", no_wrap=True)
        table.add_column("score", justify="right")
        table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
        for verdict, details in reversed(self._recent):
            table.add_row(
                Text(verdict.user_id),
                f"{details.amount:,.2f}",
                verdict.anomaly_type,
                f"{verdict.anomaly_score:.3f}",
                Text(verdict.explanation),
            )
        left_s = (self._total - tally.verdicts) / tally.events_per_second if tally.events_per_second else 0.0
        return Group(Text(f"{self._counts(tally)}, about {left_s:.0f} s left", style="bold"), Text(), table)
