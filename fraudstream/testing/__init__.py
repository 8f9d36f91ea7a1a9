"""For the tests of whoever builds on fraudstream: checks of features and scorers, and a real worker without a server.

Needs `pip install 'fraudstream[testing]'`; everything is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fraudstream.testing.checks import CheckFailedError as CheckFailedError
    from fraudstream.testing.feature_checks import check_feature as check_feature
    from fraudstream.testing.scorer_checks import check_scorer as check_scorer
    from fraudstream.testing.worker import EmbeddedWorker as EmbeddedWorker
    from fraudstream.testing.worker import embedded_worker as embedded_worker

_PLACES = {
    "CheckFailedError": "fraudstream.testing.checks",
    "EmbeddedWorker": "fraudstream.testing.worker",
    "check_feature": "fraudstream.testing.feature_checks",
    "check_scorer": "fraudstream.testing.scorer_checks",
    "embedded_worker": "fraudstream.testing.worker",
}

__all__ = ["CheckFailedError", "EmbeddedWorker", "check_feature", "check_scorer", "embedded_worker"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'fraudstream.testing' has no attribute {name!r}")
    try:
        return getattr(import_module(_PLACES[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fraudstream"):
            raise
        todo = "pip install 'fraudstream[testing]'"
        raise ModuleNotFoundError(
            f"{name} needs {error.name}, which is not installed: {todo}", name=error.name
        ) from None
