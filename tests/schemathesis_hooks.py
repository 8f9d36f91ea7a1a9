"""What schemathesis must know of our rules: which of them no JSON Schema can say."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

BEYOND_A_SCHEMA = {"absurd_time", "missing_field"}
"""A time more than a day ahead of the clock; half a place, where the other half is null."""


@schemathesis.check
def refused_only_for_what_no_schema_can_say(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A request that fits the schema is refused for these reasons only."""
    meta = case.meta
    if response.status_code != 400 or meta is None or meta.generation.mode != GenerationMode.POSITIVE:
        return
    said = response.json()
    assert said["reason"] in BEYOND_A_SCHEMA, said
    assert said["reason"] != "missing_field" or said["detail"].startswith(("latitude:", "longitude:")), said
