"""`create_app`: the worker as an object, for agents and sinks of one's own; Faust and torch come when it is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.agents.build import FraudApp
    from fraudstream.agents.sinks import Sink
    from fraudstream.features.own import OwnFeature
    from fraudstream.score.scorer import Scorer


def create_app(
    settings: Settings | None = None,
    *,
    scorer: Scorer | None = None,
    features: Iterable[OwnFeature] = (),
    sinks: Iterable[Sink] = (),
) -> FraudApp:
    """The worker's Faust app, to hang agents on: `@app.agent(app.alerts)` gets a `Verdict` for each alert.

    Run it as any Faust app: `faust -A my_module worker -l info`. An agent of your own reads `app.verdicts` or
    `app.alerts` in the worker's consumer group: it sees each verdict at least once, after it is committed, and its
    effects should be idempotent by `transaction_id`.

    Args:
        settings: of the worker; absent: from the environment. Without KAFKA_SERVERS the app brings an embedded broker.
        scorer: a model of one's own in the place of the ensemble; an installed one is named by SCORER instead.
        features: features of one's own that are not installed; every process that judges must be given the same.
        sinks: async functions that get the verdicts of each committed micro-batch. They never slow the stream: one
            that is too slow loses verdicts, one that raises loses that micro-batch, and both are counted
            (fraudstream_sink_verdicts_total). What must see every verdict is an agent.

    Raises:
        FraudstreamError: settings, features, model or sinks cannot be used; says why.
    """
    from fraudstream.features import own

    own.register_features(features)
    from fraudstream.agents.start import start_app

    return start_app(settings or load_settings(), scorer=scorer, sinks=sinks)
