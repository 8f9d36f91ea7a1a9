"""How a worker gives up: one clear line, a non-zero exit, and nothing committed after the fault."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from fraudstream.errors import StoreError

EXIT_FAULT = 70
"""EX_SOFTWARE: a fault that did not pass; the supervisor restarts the worker from its last checkpoint."""

EXIT_FENCED = 75
"""EX_TEMPFAIL: another worker owns a partition now; a restart joins the group afresh."""

EXIT_SETTINGS = 78
"""EX_CONFIG: a restart will not help before settings or topics are mended."""


def stop_for_store(error: StoreError) -> NoReturn:
    """Ends this process because the profiles on its disk cannot be used; the changelog has them all."""
    stop_process(f"stops: {error}; nothing was committed after it")


def stop_process(reason: str, code: int = EXIT_FAULT) -> NoReturn:
    """Ends this process at once, without the orderly shutdown that could still commit something."""
    sys.stderr.write(f"fraudstream: {reason}\n")
    sys.stderr.flush()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
