"""What is no HTTP: one line of log without what came, which may hold a key or a user_id, and without a traceback.

aiohttp answers it by itself, before any route or middleware sees it, and offers no other place to say how it is logged.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
            record.msg, record.args = "answered 400 to what is no HTTP (%s)", (type(error).__name__,)
            record.exc_info = record.exc_text = None
        return True


_ONE_LINE = _OneLine()


def quieten() -> None:
    """Logs it so from now on, for all of aiohttp's servers in this process."""
    server_logger.addFilter(_ONE_LINE)
