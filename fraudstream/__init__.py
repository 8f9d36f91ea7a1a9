"""Real-time fraud detection on Kafka: exact per-user state, three models, a verdict with reasons for each payment.

    Detector        scores transactions offline, by the worker's own pipeline
    create_app      the worker as a Faust app, to hang agents and sinks on
    OwnFeature      a feature of one's own; Event and History are what it is computed from
    Scorer          a model of one's own; Scored is what it answers, RankTable makes shares of any score
    Settings        all settings; load_settings reads them from the environment
    Transaction, Verdict, Reason, MemberScores     what goes in and comes out
    errors          the tree of errors, FraudstreamError at its root
    testing         checks of features and scorers, and a worker for tests

Nothing is imported before it is asked for: `import fraudstream` brings neither torch nor Faust.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fraudstream import errors as errors
    from fraudstream import testing as testing
    from fraudstream.agents.sinks import Sink as Sink
    from fraudstream.errors import FraudstreamError as FraudstreamError
    from fraudstream.features.own import OwnFeature as OwnFeature
    from fraudstream.features.own import register_features as register_features
    from fraudstream.features.past import Event as Event
    from fraudstream.features.past import History as History
    from fraudstream.library.app import create_app as create_app
    from fraudstream.library.built_in import built_in_scorer as built_in_scorer
    from fraudstream.library.detector import Detector as Detector
    from fraudstream.library.detector import UserProfiles as UserProfiles
    from fraudstream.library.results import Refused as Refused
    from fraudstream.library.results import Result as Result
    from fraudstream.score.calibration import RankTable as RankTable
    from fraudstream.score.scorer import Scored as Scored
    from fraudstream.score.scorer import Scorer as Scorer
    from fraudstream.settings import Settings as Settings
    from fraudstream.settings import load_settings as load_settings
    from fraudstream.transaction import Transaction as Transaction
    from fraudstream.verdict import MemberScores as MemberScores
    from fraudstream.verdict import Reason as Reason
    from fraudstream.verdict import Verdict as Verdict

__version__ = "0.1.0"

FACE = {
    "Detector": "fraudstream.library.detector:Detector",
    "Event": "fraudstream.features.past:Event",
    "FraudstreamError": "fraudstream.errors:FraudstreamError",
    "History": "fraudstream.features.past:History",
    "MemberScores": "fraudstream.verdict:MemberScores",
    "OwnFeature": "fraudstream.features.own:OwnFeature",
    "RankTable": "fraudstream.score.calibration:RankTable",
    "Reason": "fraudstream.verdict:Reason",
    "Refused": "fraudstream.library.results:Refused",
    "Result": "fraudstream.library.results:Result",
    "Scored": "fraudstream.score.scorer:Scored",
    "Scorer": "fraudstream.score.scorer:Scorer",
    "Settings": "fraudstream.settings:Settings",
    "Sink": "fraudstream.agents.sinks:Sink",
    "Transaction": "fraudstream.transaction:Transaction",
    "UserProfiles": "fraudstream.library.detector:UserProfiles",
    "Verdict": "fraudstream.verdict:Verdict",
    "built_in_scorer": "fraudstream.library.built_in:built_in_scorer",
    "create_app": "fraudstream.library.app:create_app",
    "errors": "fraudstream.errors:",
    "load_settings": "fraudstream.settings:load_settings",
    "register_features": "fraudstream.features.own:register_features",
    "testing": "fraudstream.testing:",
}
"""Public name -> where it lives, as module:attribute, or module: for the module itself."""

__all__ = [*FACE, "__version__"]  # noqa: PLE0604  all of them are texts


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"module 'fraudstream' has no attribute {name!r}")
    module, _, attribute = FACE[name].partition(":")
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
