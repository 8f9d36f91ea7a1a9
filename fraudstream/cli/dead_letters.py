"""`fraudstream dead-letters`: shows what could not be scored and why, and puts it back once that is mended."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fraudstream.cli.output import json_option, print_facts, print_table, progress, say, write_json
from fraudstream.cli.printable import in_a_line, in_lines, printable, text_of
from fraudstream.dead_letter import REASONS, KeptLetter, place_of
from fraudstream.errors import SettingsError, TopicError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.adapters.dead_letters import ReplayPlan

SHOWN_REFUSED = 20
_LEFT = "; another run was quicker with the others, or they are gone meanwhile: run it again to see"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,4})([smhd])")
_PLACE = re.compile(r"(?:(?P<topic>[A-Za-z0-9._-]+)/)?(?P<partition>\d{1,9})@(?P<offset>\d{1,18})")

Command = TypeVar("Command", bound=Callable[..., Any])


class Since(click.ParamType):
    """A time, or how long ago; milliseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """What the text means."""
        ago = _AGO.fullmatch(value)
        if ago:
            when = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            try:
                when = datetime.fromisoformat(value)
            except ValueError:
                self.fail(f"expected a time such as 2026-11-22T10:30Z or an age such as 90m, 2h or 7d, got {value!r}")
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


class Place(click.ParamType):
    """Where a record lies; topic (None: that of the dead letters), partition and offset."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, int, int]:
        """What the text means."""
        found = _PLACE.fullmatch(value)
        if not found:
            self.fail(f"expected PARTITION@OFFSET of a dead letter or TOPIC/PARTITION@OFFSET, got {value!r}")
        return found["topic"], int(found["partition"]), int(found["offset"])


def choosing_options(command: Command) -> Command:
    """The options `--reason` and `--since`; the command gets `reasons` and `since_ms`."""
    command = click.option(
        "--since",
        "since_ms",
        type=Since(),
        metavar="TIME",
        help="Only what came after a time, or within 90m, 2h, 7d.",
    )(command)
    return click.option(
        "--reason",
        "reasons",
        multiple=True,
        type=click.Choice(list(REASONS)),
        metavar="CODE",
        help="Only those with this reason, such as malformed_json; may be given several times.",
    )(command)


@click.group("dead-letters")
def dead_letters() -> None:
    """Shows messages that could not be scored, and puts them back on their topics."""


@dead_letters.command("list")
@choosing_options
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Show the newest so many.")
@json_option
def list_(reasons: tuple[str, ...], since_ms: int | None, limit: int, json_file: Path | None) -> None:
    """Lists dead letters: reason, where each lies and came from, when, and what was expected."""
    settings, bootstrap = _broker()
    counts, newest = asyncio.run(_newest(settings, bootstrap, _is_wanted(reasons, since_ms), limit))
    print_table(
        ("reason", "at", "origin", "time", "detail"),
        [
            (printable(one.letter.reason), _at(one), printable(one.origin), _time(one), printable(one.letter.detail))
            for one in newest
        ],
    )
    told = ", ".join(f"{printable(name)} {count}" for name, count in counts.most_common())
    say(f"{counts.total()} dead letters" + (f": {told}" if told else ""))
    write_json(
        json_file,
        {"dead_letters": counts.total(), "reasons": dict(counts.most_common()), "shown": [*map(_facts, newest)]},
    )


@dead_letters.command()
@click.argument("place", type=Place(), metavar="PLACE")
@json_option
def show(place: tuple[str | None, int, int], json_file: Path | None) -> None:
    """Shows one dead letter whole: what came, why it was refused, and what to do.

    PLACE is where it lies (PARTITION@OFFSET, as `list` shows it) or where it came from (TOPIC/PARTITION@OFFSET).
    """
    settings, bootstrap = _broker()
    kept = asyncio.run(_find(settings, bootstrap, *place))
    letter, known = kept.letter, REASONS.get(kept.letter.reason)
    facts: dict[str, object] = {
        "reason": printable(letter.reason) + (f" ({known.means})" if known else ""),
        "detail": printable(letter.detail),
        "do": known.do if known else "This reason is of another release: see its docs/topics.md.",
        "lies at": kept.place,
        "origin": printable(kept.origin),
        "time": _time(kept),
        "key": "none" if letter.key is None else in_a_line(letter.key),
        **{f"header {printable(name)}": in_a_line(content) for name, content in kept.headers if name != "detail"},
    }
    print_facts(facts)
    say("value: none" if letter.value is None else f"value, {len(letter.value):,} bytes:")
    if letter.value is not None:
        say(in_lines(letter.value))
    write_json(json_file, _facts(kept) | _content("key", letter.key) | _content("value", letter.value))


@dead_letters.command()
@choosing_options
@click.option("--dry-run", is_flag=True, help="Only say what would be put back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def replay(
    context: click.Context,
    reasons: tuple[str, ...],
    since_ms: int | None,
    dry_run: bool,
    yes: bool,
    json_file: Path | None,
) -> None:
    """Puts dead letters back on the topics they came from, byte for byte, after a fix.

    Each letter once, also where this is run again or killed half-way: the message and the note that it was put back
    are written in one Kafka transaction. The message has its old key, value and time, the partition that its key
    chooses, and a header `replayed_from`. Exits with 1 if any of the letters cannot be put back.
    """
    from fraudstream.adapters import dead_letters as on_broker

    settings, bootstrap = _broker()
    plan = asyncio.run(on_broker.plan_replay(settings, bootstrap, _is_wanted(reasons, since_ms)))
    _tell(plan)
    done = 0
    if plan.ready and not dry_run:
        if not yes:
            click.confirm(f"put {len(plan.ready)} messages back?", abort=True)
        with progress("replay", len(plan.ready), "messages") as advance:
            done = asyncio.run(on_broker.told_once(on_broker.replay(settings, bootstrap, plan, advance)))
        say(f"{done} messages were put back" + ("" if done == len(plan.ready) else _LEFT))
    write_json(
        json_file,
        {
            "ready": len(plan.ready),
            "replayed": done,
            "already_replayed": plan.already,
            "refused": [{"at": place, "why": why} for place, why in plan.refused.items()],
            "topics": [
                {"topic": topic, "reason": reason, "messages": count}
                for (topic, reason), count in sorted(plan.by_topic_and_reason.items())
            ],
        },
    )
    is_whole = not plan.refused and (dry_run or done == len(plan.ready))
    context.exit(0 if is_whole else 1)


def _tell(plan: ReplayPlan) -> None:
    if plan.ready:
        print_table(
            ("topic", "reason", "messages"),
            [(*names, count) for names, count in sorted(plan.by_topic_and_reason.items())],
        )
    say(f"{len(plan.ready)} to put back, {plan.already} were put back before, {len(plan.refused)} cannot be")
    for place, why in list(plan.refused.items())[:SHOWN_REFUSED]:
        say(f"{place}: {printable(why)}")
    if len(plan.refused) > SHOWN_REFUSED:
        say(f"and {len(plan.refused) - SHOWN_REFUSED} more: --json FILE names them all")


def _broker() -> tuple[Settings, str]:
    settings = load_settings()
    if settings.kafka_servers is None:
        raise SettingsError(
            "KAFKA_SERVERS: expected HOST:PORT of the broker that keeps the dead letters, it is not set"
        )
    return settings, settings.kafka_servers


def _is_wanted(reasons: Iterable[str], since_ms: int | None) -> Callable[[KeptLetter], bool]:
    codes = set(reasons)
    return lambda one: (not codes or one.letter.reason in codes) and (since_ms is None or one.time_ms >= since_ms)


async def _newest(
    settings: Settings, bootstrap: str, is_wanted: Callable[[KeptLetter], bool], limit: int
) -> tuple[Counter[str], list[KeptLetter]]:
    """How many there are of each reason, and the newest of them in the order of their time."""
    from fraudstream.adapters.dead_letters import read_dead_letters

    counts: Counter[str] = Counter()
    by_partition: dict[str, deque[KeptLetter]] = {}
    async for one in read_dead_letters(settings, bootstrap):
        if is_wanted(one):
            counts[one.letter.reason] += 1
            by_partition.setdefault(one.place.partition("@")[0], deque(maxlen=limit)).append(one)
    newest = sorted((one for kept in by_partition.values() for one in kept), key=lambda one: one.time_ms)
    return counts, newest[-limit:]


async def _find(settings: Settings, bootstrap: str, topic: str | None, partition: int, offset: int) -> KeptLetter:
    from fraudstream.adapters.dead_letters import read_dead_letters

    is_own = topic in (None, settings.dead_letters_topic)
    place = place_of(settings.dead_letters_topic if topic is None else topic, partition, offset)
    start = (partition, offset) if is_own else None
    async with aclosing(read_dead_letters(settings, bootstrap, start)) as letters:
        async for one in letters:
            if place == (one.place if is_own else one.origin):
                return one
            if is_own:
                break
    where = "at" if is_own else "of a message from"
    raise TopicError(
        f"topic {settings.dead_letters_topic}: expected a dead letter {where} {place}, there is none; "
        "`fraudstream dead-letters list` shows what is there"
    )


def _facts(kept: KeptLetter) -> dict[str, Any]:
    return {
        "reason": kept.letter.reason,
        "origin": kept.origin,
        "detail": kept.letter.detail,
        "at": kept.place,
        "time": _time(kept),
    }


def _content(name: str, content: bytes | None) -> dict[str, str | None]:
    """Bytes for JSON: as text where they are UTF-8, else in hex."""
    text = None if content is None else text_of(content)
    return {name: text, f"{name}_hex": content.hex() if content is not None and text is None else None}


def _at(kept: KeptLetter) -> str:
    return kept.place.rpartition("/")[2]


def _time(kept: KeptLetter) -> str:
    try:
        when = datetime.fromtimestamp(kept.time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # whoever writes a record may give it any time
        return f"{kept.time_ms} ms after 1970"
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
