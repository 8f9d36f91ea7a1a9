"""What is known of one verdict: what it was made from, the user's recent past, the model; read from evidence alone.

Nothing is computed anew here: that is what_if.py. No store is opened and nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fraudstream.errors import EvidenceError, ModelError
from fraudstream.evidence import Evidence, EvidenceStore, features_of
from fraudstream.features.catalogue import CATALOGUE, FEATURE_NAMES
from fraudstream.score import artifact
from fraudstream.score.registry import Registry
from fraudstream.settings import Settings
from fraudstream.transaction import Transaction, decode_transaction
from fraudstream.verdict import Verdict, decode_verdict

HISTORY = timedelta(days=30)
"""As far back as the longest window of the features."""

_UNITS = {feature.name: feature.unit for feature in CATALOGUE}


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """A feature as the models saw it; the unit is empty where this code does not know the feature."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Payment:
    """One of the user's earlier payments and what was said of it."""

    transaction_id: str
    event_time: datetime
    amount: float
    merchant: str
    category: str | None
    location: str | None
    anomaly_score: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class ModelFound:
    """The model of a verdict.

    Attributes:
        version: as the verdict names it.
        directory: where it is; None where it was looked for and is not there.
        manifest: what it was made from.
        looked_in: the places, for people.
    """

    version: str
    directory: Path | None
    manifest: artifact.Manifest | None
    looked_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of a verdict.

    Attributes:
        evidence: as the store keeps it.
        verdict: as it was then.
        transaction: as it was read.
        features: in the catalogue's order of the model.
        past: all evidence of the user that was judged before, in the order in which it was judged.
        history: the payments of it within 30 days before this one, the newest first.
        model: that of the verdict.
    """

    evidence: Evidence
    verdict: Verdict
    transaction: Transaction
    features: tuple[FeatureValue, ...]
    past: tuple[Evidence, ...]
    history: tuple[Payment, ...]
    model: ModelFound


async def explain(store: EvidenceStore, transaction_id: str, settings: Settings) -> Explanation:
    """Reads what is known of a transaction's verdict.

    Args:
        store: where evidence is kept.
        transaction_id: of the transaction.
        settings: name the places where models are.

    Raises:
        EvidenceError: there is no evidence of it, or it cannot be read.
    """
    evidence = await store.find(transaction_id)
    if evidence is None:
        raise EvidenceError(
            f"{transaction_id}: expected a transaction with evidence, there is none; evidence is kept from the moment "
            "on when the audit sink runs, and as long as it is retained: check the id, and that the sink has caught up"
        )
    verdict, transaction = _read(evidence)
    model = find_model(verdict.model_version, settings)
    past = tuple([one async for one in store.of_user(evidence.user_id) if _is_before(one, evidence)])
    return Explanation(
        evidence=evidence,
        verdict=verdict,
        transaction=transaction,
        features=_features(evidence, model),
        past=past,
        history=tuple(sorted(_history(past, verdict), key=lambda one: one.event_time, reverse=True)),
        model=model,
    )


def find_model(version: str, settings: Settings) -> ModelFound:
    """Looks for a model in MODEL_DIR, in the registry, and in the package."""
    places = []
    for name, directory in _model_directories(settings, version):
        places.append(name)
        try:
            manifest = artifact.read_manifest(directory)
        except ModelError:  # it cannot be the model of a verdict, whatever is the matter with it
            continue
        if manifest.model_version == version:
            return ModelFound(version, directory, manifest, tuple(places))
    return ModelFound(version, None, None, tuple(places))


def _model_directories(settings: Settings, version: str) -> Iterator[tuple[str, Path]]:
    if settings.model_dir is not None:
        yield f"MODEL_DIR={settings.model_dir}", settings.model_dir
    if settings.model_registry is not None:
        try:
            yield (
                f"MODEL_REGISTRY={settings.model_registry}",
                Registry(settings.model_registry).entry(version).directory,
            )
        except ModelError:  # no such version, or no registry
            yield f"MODEL_REGISTRY={settings.model_registry}", settings.model_registry
    yield "the package", artifact.DEFAULT_MODEL


def _read(evidence: Evidence) -> tuple[Verdict, Transaction]:
    try:
        return decode_verdict(evidence.verdict), decode_transaction(evidence.transaction)
    except (msgspec.DecodeError, ValueError) as error:
        raise EvidenceError(
            f"{evidence.transaction_id}: expected a verdict and a transaction that this version of fraudstream reads, "
            f"got {error}; use the version that wrote them"
        ) from None


def _is_before(one: Evidence, this: Evidence) -> bool:
    """Offsets order what is of one partition, and a user is in one, unless partitions were added."""
    if one.transaction_id == this.transaction_id:
        return False
    return one.offset < this.offset if one.partition == this.partition else True


def _features(evidence: Evidence, model: ModelFound) -> tuple[FeatureValue, ...]:
    values = features_of(evidence.features).tolist()
    names = model.manifest.features if model.manifest else FEATURE_NAMES
    if len(names) != len(values):  # a model that is gone, and another catalogue today
        names = tuple(f"feature {number}" for number in range(1, len(values) + 1))
    return tuple(FeatureValue(name, value, _UNITS.get(name, "")) for name, value in zip(names, values, strict=True))


class _Said(msgspec.Struct):
    """What the history shows of an earlier verdict, whatever version wrote it."""

    event_time: datetime
    anomaly_score: float
    flagged: bool


_decode_said = msgspec.json.Decoder(_Said).decode


def _history(past: tuple[Evidence, ...], verdict: Verdict) -> Iterator[Payment]:
    for one in past:
        said = _decode_said(one.verdict)
        if verdict.event_time - HISTORY < said.event_time <= verdict.event_time:
            paid = decode_transaction(one.transaction)
            yield Payment(
                transaction_id=one.transaction_id,
                event_time=said.event_time,
                amount=paid.amount,
                merchant=paid.merchant,
                category=paid.category,
                location=paid.location,
                anomaly_score=said.anomaly_score,
                flagged=said.flagged,
            )


def as_json(found: Explanation) -> dict[str, Any]:
    """The same for machines, in plain types; verdict and transaction as they were sent."""
    chain = found.evidence.chain
    return {
        "transaction_id": found.evidence.transaction_id,
        "user_id": found.evidence.user_id,
        "verdict": msgspec.json.decode(found.evidence.verdict),
        "transaction": msgspec.json.decode(found.evidence.transaction),
        "features": msgspec.to_builtins(found.features),
        "history": msgspec.to_builtins(found.history),
        "earlier_evidence": len(found.past),
        "model": {
            "version": found.model.version,
            "directory": str(found.model.directory) if found.model.directory else None,
            "manifest": msgspec.to_builtins(found.model.manifest),
        },
        "chain": None
        if chain is None
        else {
            "partition": chain.partition,
            "offset": chain.offset,
            "previous_hash": chain.previous_hash.hex(),
            "row_hash": chain.row_hash.hex(),
        },
    }
