"""Everything that the routes may answer besides success, as RFC 9457 problem details; each reason stands here once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from aiohttp import web

from fraudstream.dead_letter import REASONS
from fraudstream.errors import RefusedInput
from fraudstream.web.service import NOT_OWNED

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:fraudstream:problem:"
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """What is the same in every problem of one reason.

    Attributes:
        title: the reason in words.
    """

    status: HTTPStatus
    title: str


KINDS: dict[str, Kind] = {
    **{
        reason: Kind(HTTPStatus.BAD_REQUEST, refusal.means)
        for reason, refusal in REASONS.items()
        if reason not in {"empty_message", "key_mismatch", "profile_unreadable"}  # of the stream, not of a request
    },
    "profile_unreadable": Kind(HTTPStatus.SERVICE_UNAVAILABLE, REASONS["profile_unreadable"].means),
    "invalid_parameter": Kind(HTTPStatus.BAD_REQUEST, "a query parameter or a part of the path cannot be used"),
    "unauthorized": Kind(HTTPStatus.UNAUTHORIZED, "no known API key was shown"),
    "unknown_user": Kind(HTTPStatus.NOT_FOUND, "nothing is known of the user"),
    "unknown_transaction": Kind(HTTPStatus.NOT_FOUND, "no verdict on the transaction is kept"),
    "not_found": Kind(HTTPStatus.NOT_FOUND, "there is nothing at this path"),
    "method_not_allowed": Kind(HTTPStatus.METHOD_NOT_ALLOWED, "the path does not take this method"),
    "body_timeout": Kind(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time"),
    "transaction_conflict": Kind(HTTPStatus.CONFLICT, "another transaction with this transaction_id was asked about"),
    "body_too_large": Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large"),
    "wrong_content_type": Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is not JSON"),
    NOT_OWNED: Kind(HTTPStatus.MISDIRECTED_REQUEST, "another worker has the user"),
    "rate_limited": Kind(HTTPStatus.TOO_MANY_REQUESTS, "the key asks about more transactions than it may"),
    "internal_error": Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault in fraudstream"),
    "not_ready": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "the process cannot judge yet, or no more"),
    "too_many_consoles": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "as many pages watch this worker as may"),
    "no_score": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "no model is left to score with"),
    "not_recorded": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "the transaction was not taken into the stream"),
}
"""Reason code -> status and title. The codes of dead letters mean the same here."""


class Problem(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457).

    Attributes:
        type: `urn:fraudstream:problem:` and the reason.
        title: the reason in words, the same each time.
        status: the HTTP status.
        detail: what was expected and what came, this time.
        reason: a stable code, those of dead letters among them.
        request_id: of the request, as in the X-Request-ID header and in the access log.
    """

    type: str
    title: str
    status: int
    detail: str
    reason: str
    request_id: str


class Trouble(Exception):
    """A problem on its way to the caller: raised by a handler, or one item's answer among others.

    Args:
        reason: one of `KINDS`.
        detail: one sentence for the caller.
        headers: such as Retry-After.
    """

    def __init__(self, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, refused: RefusedInput) -> Trouble:
        """A refused transaction as a problem."""
        return cls(refused.reason, refused.detail)

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status."""
        return KINDS[self.reason].status

    def problem(self, request_id: str) -> Problem:
        """The body."""
        kind = KINDS[self.reason]
        return Problem(TYPE_PREFIX + self.reason, kind.title, int(kind.status), self.detail, self.reason, request_id)

    def response(self, request_id: str) -> web.Response:
        """The whole answer; one that may be over soon says when to come again."""
        headers = self.headers.copy()
        if self.status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        return web.Response(
            body=msgspec.json.encode(self.problem(request_id)),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers=headers,
        )
