"""The summary of a demo: its figures, whether every transaction has its one verdict, which frauds were caught."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from fraudstream.cli.demo_source import Source
from fraudstream.cli.stream_client import Tally


@dataclass(frozen=True, slots=True)
class Caught:
    """Labelled frauds of a kind, and how many of them were flagged."""

    frauds: int
    caught: int


@dataclass(frozen=True, slots=True)
class Detection:
    """What the labels say of the alerts.

    Attributes:
        alerts: flagged transactions, frauds or not.
        campaigns: the same by kind of fraud.
    """

    frauds: int
    caught: int
    alerts: int
    campaigns: dict[str, Caught]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a demo; field names are the keys of its JSON.

    Attributes:
        cpu_us_per_event: CPU of the worker process, None where the system does not tell.
        latency_ms: from the moment before sending to the moment after reading the verdict.
        lost: transactions with neither verdict nor dead letter.
        repeated: verdicts that came once too often.
        first_verdict_s: from the start of the command.
        detection: None where the stream has no labels.
    """

    transactions: int
    verdicts: int
    alerts: int
    dead_letters: int
    lost: int
    repeated: int
    events_per_second: float
    cpu_us_per_event: float | None
    latency_ms: dict[str, float | None]
    first_verdict_s: float | None
    detection: Detection | None

    @property
    def is_complete(self) -> bool:
        """Whether every transaction has exactly one verdict (or a dead letter), and every flagged one its alert."""
        return self.lost == self.repeated == 0 and self.verdicts + self.dead_letters == self.transactions

    def as_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)


def judge(tally: Tally, source: Source, cpu_s: float | None, first_verdict_s: float | None) -> Report:
    """Draws the figures from what was seen."""
    return Report(
        transactions=len(source.transactions),
        verdicts=tally.verdicts,
        alerts=tally.alerts,
        dead_letters=tally.dead_letters,
        lost=len(source.transactions) - tally.verdicts - tally.dead_letters,
        repeated=tally.repeated,
        events_per_second=round(tally.events_per_second, 1),
        cpu_us_per_event=round(cpu_s / tally.verdicts * 1e6, 1) if cpu_s is not None and tally.verdicts else None,
        latency_ms=tally.latency_ms(50, 95, 99),
        first_verdict_s=None if first_verdict_s is None else round(first_verdict_s, 2),
        detection=None if source.frauds is None else _detection(source.frauds, tally.flagged),
    )


def _detection(frauds: dict[str, str], flagged: set[str]) -> Detection:
    of_kind = Counter(frauds.values())
    caught = Counter(campaign for transaction_id, campaign in frauds.items() if transaction_id in flagged)
    return Detection(
        frauds=len(frauds),
        caught=caught.total(),
        alerts=len(flagged),
        campaigns={name: Caught(of_kind[name], caught[name]) for name in sorted(of_kind)},
    )


def show(report: Report, console: Console) -> None:
    """Prints the summary."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in _lines(report):
        table.add_row(name, text)
    console.print()
    console.print(table, highlight=False)
    detection = report.detection
    if detection is not None and detection.frauds:
        kinds = Table(title="Labelled frauds", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for heading in ("campaign", "frauds", "caught"):
            kinds.add_column(heading, justify="left" if heading == "campaign" else "right")
        for name, kind in detection.campaigns.items():
            kinds.add_row(name, f"{kind.frauds:,}", f"{kind.caught:,}")
        kinds.add_row("all", f"{detection.frauds:,}", f"{detection.caught:,}")
        console.print()
        console.print(kinds, highlight=False)
    if report.is_complete:
        console.print("\nevery transaction has exactly one verdict", highlight=False)
    else:
        console.print(f"\nFAILED: {report.lost:,} verdicts lost, {report.repeated:,} repeated", highlight=False)


def _lines(report: Report) -> list[tuple[str, str]]:
    latency = ", ".join(f"{name} {_number(value)} ms" for name, value in report.latency_ms.items())
    share = f" ({report.alerts / report.verdicts:.1%} of verdicts)" if report.verdicts else ""
    return [
        ("transactions", f"{report.transactions:,}"),
        ("verdicts", f"{report.verdicts:,}"),
        ("alerts", f"{report.alerts:,}{share}"),
        ("dead letters", f"{report.dead_letters:,}"),
        ("speed", f"{report.events_per_second:,.0f} events/s"),
        ("worker CPU", f"{_number(report.cpu_us_per_event)} µs per event"),
        ("time to verdict", latency),
        ("first verdict", f"{_number(report.first_verdict_s)} s after the start"),
    ]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.1f}"
