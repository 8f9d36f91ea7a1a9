"""`fraudstream explain`: a verdict as it was then, from its evidence, and what it would be for another payment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fraudstream.cli.output import json_option, print_facts, print_table, say, write_json
from fraudstream.errors import ModelError
from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.explanation import Explanation, ModelFound
    from fraudstream.verdict import Reason, Verdict
    from fraudstream.what_if import Change, WhatIf

BAR_CHARACTERS = 30
"""As long as a reason would be that is the whole score."""
HISTORY_ROWS = 20


def _changes(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> dict[str, Change]:
    from fraudstream.what_if import parse_change

    try:
        return dict(map(parse_change, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("transaction_id")
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    callback=_changes,
    metavar="FIELD=VALUE",
    help="Judge it again with another value, such as amount=50; an empty value leaves the field out. Repeatable.",
)
@json_option
def explain(transaction_id: str, changes: dict[str, Change], json_file: Path | None) -> None:
    """Shows a verdict as it was then: reasons, members, features, the user's recent payments, model and evidence.

    Reads the audit trail that POSTGRES_URL names, or the file in DATA_DIR without one.
    """
    settings = load_settings()
    found = asyncio.run(_find(transaction_id, settings))
    _print(found)
    asked = _judge_again(found, changes, settings) if changes else None
    if asked is not None:
        _print_what_if(asked)
    write_json(json_file, _as_json(found, asked))


async def _find(transaction_id: str, settings: Settings) -> Explanation:
    from fraudstream.adapters.audit_store import open_store
    from fraudstream.explanation import explain

    async with open_store(settings) as store:
        return await explain(store, transaction_id, settings)


def _judge_again(found: Explanation, changes: dict[str, Change], settings: Settings) -> WhatIf:
    from fraudstream.detector import load_detector
    from fraudstream.what_if import what_if

    if found.model.directory is None:
        raise ModelError(
            f"--what-if: expected the model {found.model.version} of the verdict; {_not_there(found.model)}; "
            "set MODEL_DIR to its directory"
        )
    model = {"model_dir": found.model.directory, "model_registry": None}
    return what_if(load_detector(settings.model_copy(update=model)), found, changes)


def _print(found: Explanation) -> None:
    verdict, paid = found.verdict, found.transaction
    what = "flagged" if verdict.flagged else "not flagged"
    say(
        f"{verdict.transaction_id}: {paid.amount:,.2f} {paid.currency or ''} by {verdict.user_id} at {paid.merchant}, "
        f"{verdict.event_time:%Y-%m-%d %H:%M:%S}Z".replace("  ", " ")
    )
    say(f"{what}: score {verdict.anomaly_score:.6f}, threshold {verdict.threshold:.6f}, {verdict.anomaly_type}")
    say("")
    _print_reasons(verdict)
    print_table(("member", "finds so much of the training traffic less unusual"), _members(verdict))
    say("")
    _print_history(found)
    print_table(
        ("feature", "value", "unit"),
        [(one.name, f"{one.value:.6g}", one.unit) for one in found.features],
        "Features, as the models saw them",
    )
    say("")
    _print_origin(found)


def _print_reasons(verdict: Verdict) -> None:
    if not verdict.reasons:
        say(f"Reasons: {verdict.explanation}")
    else:
        rows = [
            (one.code, f"{one.contribution:.3f}", _bar(one, verdict.anomaly_score), _measured(one), one.text)
            for one in verdict.reasons
        ]
        print_table(("reason", "part", "of the score", "value (usual)", ""), rows, "Reasons: they sum to the score")
    say("")


def _bar(reason: Reason, score: float) -> str:
    length = round(BAR_CHARACTERS * reason.contribution / score) if score else 0
    return "█" * length or "▏"


def _measured(reason: Reason) -> str:
    usual = "" if reason.usual is None else f" ({reason.usual:,.6g})"
    return f"{reason.value:,.6g}{usual} {reason.unit}"


def _members(verdict: Verdict) -> Iterator[tuple[str, str]]:
    for name in ("forest", "autoencoder", "lstm"):
        rank = getattr(verdict.members, name)
        yield name, "failed, left out of the score" if rank is None else f"{rank:.6f}"


def _print_history(found: Explanation) -> None:
    if not found.history:
        say("The evidence holds no earlier payment of this user within 30 days\n")
        return
    total = sum(one.amount for one in found.history)
    print_table(
        ("time", "amount", "merchant", "category", "location", "score", ""),
        [
            (
                f"{one.event_time:%Y-%m-%d %H:%M}",
                f"{one.amount:,.2f}",
                one.merchant,
                one.category or "",
                one.location or "",
                f"{one.anomaly_score:.3f}",
                "flagged" if one.flagged else "",
            )
            for one in found.history[:HISTORY_ROWS]
        ],
        f"The user's 30 days before: {len(found.history):,} payments, {total:,.2f} in all",
    )
    if len(found.history) > HISTORY_ROWS:
        say(f"and {len(found.history) - HISTORY_ROWS:,} more; --json FILE has all")
    say("")


def _print_origin(found: Explanation) -> None:
    model, chain, verdict = found.model, found.evidence.chain, found.verdict
    facts: dict[str, object] = {"model": model.version}
    if model.manifest is None:
        facts["model is"] = _not_there(model)
    else:
        training = model.manifest.training
        facts["model is in"] = model.directory
        facts["trained on"] = (
            f"{training.rows:,} transactions of {training.source}, "
            f"{training.first_event_time:%Y-%m-%d} to {training.last_event_time:%Y-%m-%d}, seed {training.seed}"
        )
    facts["source"] = f"partition {found.evidence.partition}, offset {found.evidence.offset}"
    marks = [name for name in ("late", "duplicate") if getattr(verdict, name)] + list(verdict.degraded)
    if marks:
        facts["marked"] = ", ".join(marks)
    if chain is None:
        facts["chain"] = "this evidence is not in a chain"
    else:
        facts["chain"] = f"{chain.row_hash.hex()} after {chain.previous_hash.hex()}"
    print_facts(facts)


def _not_there(model: ModelFound) -> str:
    return f"not there any more: looked in {', '.join(model.looked_in)}"


def _print_what_if(asked: WhatIf) -> None:
    was, would = asked.replayed, asked.changed
    changes = ", ".join(f"{name}={'absent' if value is None else value}" for name, value in asked.changes.items())
    say(f"\nWith {changes}: score {would.anomaly_score:.6f}, {'flagged' if would.flagged else 'not flagged'}")
    _print_reasons(would)
    replay = f"{asked.payments:,} earlier payments were replayed, of {asked.payments_known:,} that the profile knew"
    if asked.is_exact:
        say(f"Exact: {replay}, and the replay gives the recorded score {asked.recorded_score:.6f}")
    else:
        say(
            f"Only approximate: {replay}, and the replay gives {was.anomaly_score:.6f} where "
            f"{asked.recorded_score:.6f} was recorded; the evidence lacks a part of "
            "the user's past, or settings have changed since"
        )


def _as_json(found: Explanation, asked: WhatIf | None) -> dict[str, Any]:
    import msgspec

    from fraudstream.explanation import as_json

    told = as_json(found)
    told["what_if"] = (
        None
        if asked is None
        else {
            "changes": asked.changes,
            "recorded_score": asked.recorded_score,
            "replayed_score": asked.replayed.anomaly_score,
            "is_exact": asked.is_exact,
            "payments_replayed": asked.payments,
            "payments_known": asked.payments_known,
            "verdict": msgspec.to_builtins(asked.changed),
        }
    )
    return told
