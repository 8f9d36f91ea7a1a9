"""Ten thousand ways to send a bad transaction: seeded, each with the reason that its dead letter must name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LARGE_CHARS = 900_000

Fields = dict[str, Any]
Broken = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send, and what must become of it: a verdict, or a dead letter with one of `reasons`."""

    key: bytes | None
    value: bytes | None
    reasons: frozenset[str]

    @property
    def is_good(self) -> bool:
        return not self.reasons


def good(chance: random.Random, number: int) -> Fields:
    """A transaction that can be scored, in one of the forms that are allowed."""
    fields: Fields = {
        "transaction_id": f"good-{number}",
        "user_id": f"user-{chance.randrange(200)}",
        "amount": round(chance.lognormvariate(3, 1), 2),
        "merchant": f"Shop {chance.randrange(50)}",
    }
    if chance.random() < 0.5:
        fields |= {"category": "food", "location": "New York", "device_id": f"d-{chance.randrange(9)}"}
    if chance.random() < 0.5:
        fields["timestamp"] = chance.choice(
            [1_700_000_000 + number, 1_700_000_000_000 + number, "2024-05-05T05:05:05+02:00"]
        )
    if chance.random() < 0.3:
        fields |= {"latitude": chance.uniform(-90, 90), "longitude": chance.uniform(-180, 180), "currency": "USD"}
    if chance.random() < 0.3:
        fields |= {"loyalty": {"points": [1, 2, None]}, "note": "unknown fields are nobody's fault"}
    if chance.random() < 0.3:
        fields |= dict.fromkeys(set(OPTIONAL) - fields.keys())  # null is absent
    return fields


OPTIONAL = ("category", "location", "device_id", "timestamp", "latitude", "longitude", "currency")
_REQUIRED = ("transaction_id", "user_id", "amount", "merchant")
_ABSURD_TIMES = [
    *(0, -1, 946_684_799, 99_999_999_999, 10**15, 10**30, 1e300),
    *("1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "yesterday"),
]
_TEXTS = ("transaction_id", "merchant", "category", "location", "device_id")


def _encoded(fields: Fields) -> Broken:
    return str(fields.get("user_id")).encode(), json.dumps(fields).encode()


def _truncated(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    return key, (value or b"")[: chance.randrange(1, len(value or b"") - 1)]


def _without(chance: random.Random, fields: Fields) -> Broken:
    key, _ = _encoded(fields)
    del fields[chance.choice(_REQUIRED)]
    return key, json.dumps(fields).encode()


def _replaced(names: tuple[str, ...], values: Callable[[random.Random], Any]) -> Callable[..., Broken]:
    def mutate(chance: random.Random, fields: Fields) -> Broken:
        key, _ = _encoded(fields)
        return key, json.dumps(fields | {chance.choice(names): values(chance)}).encode()

    return mutate


def _twice(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    name = chance.choice(sorted(fields))
    return key, (value or b"")[:-1] + b"," + json.dumps({name: fields[name]}).encode()[1:]


def _bad_utf8(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    return key, (value or b"").replace(b"Shop", chance.choice([b"\xff", b"\xc3(", b"\xed\xa0\x80", b"Sh\x80p"]))


def _half_a_place(chance: random.Random, fields: Fields) -> Broken:
    names = ["latitude", "longitude"]
    chance.shuffle(names)
    return _encoded(fields | {names[0]: 1.5, names[1]: None})


def _large(chance: random.Random, fields: Fields) -> Broken:
    return _replaced(("merchant", "location"), lambda _: "x" * LARGE_CHARS)(chance, fields)


def _other_key(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    return chance.choice([None, b"", b"somebody-else", b"\xff\xfe", (key or b"") + b" "]), value


def _not_an_object(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    return key, chance.choice([b"[]", b"null", b"17", b'"text"', b"[" + (value or b"") + b"]"])


def _no_json(chance: random.Random, fields: Fields) -> Broken:
    key, value = _encoded(fields)
    text = value or b""
    return key, chance.choice(
        [b"", b" ", b"hello", text + text, text + b"x", b"\x00" + text, b"[" * 5_000, text.replace(b'"', b"'")]
    )


MUTATIONS: dict[str, tuple[Callable[..., Broken], set[str]]] = {
    "truncated": (_truncated, {"malformed_json"}),
    "no JSON": (_no_json, {"malformed_json"}),
    "not an object": (_not_an_object, {"wrong_type"}),
    "tombstone": (lambda _, fields: (_encoded(fields)[0], None), {"empty_message"}),
    "missing key": (_without, {"missing_field"}),
    "required null": (_replaced(_REQUIRED, lambda _: None), {"wrong_type"}),
    "text with another type": (
        _replaced(_TEXTS, lambda chance: chance.choice([1, 1.5, True, [], {}, ["x"]])),
        {"wrong_type"},
    ),
    "amount with another type": (
        _replaced(("amount",), lambda chance: chance.choice(["12.5", True, [], {}, [1]])),
        {"wrong_type"},
    ),
    "not finite": (
        _replaced(("amount", "timestamp"), lambda chance: float(chance.choice(["nan", "inf", "-inf"]))),
        {"not_finite"},
    ),
    "out of range": (
        _replaced(("amount",), lambda chance: chance.choice([-0.01, -5, 1e12, 42_949_672.96])),
        {"out_of_range"},
    ),
    "off the globe": (
        _replaced(("latitude", "longitude"), lambda chance: chance.choice([181, -180.5, 1e9])),
        {"out_of_range"},
    ),
    "half a place": (_half_a_place, {"missing_field"}),
    "bad length": (_replaced(_TEXTS, lambda chance: chance.choice(["", "x" * 257])), {"bad_length"}),
    "bad currency": (_replaced(("currency",), lambda chance: chance.choice(["", "US", "DOLLAR"])), {"bad_length"}),
    "control character": (
        _replaced(_TEXTS, lambda chance: f"a{chr(chance.choice([0, 7, 10, 27, 127]))}b"),
        {"control_character"},
    ),
    "lone surrogate": (_replaced(_TEXTS, lambda _: "\ud800"), {"control_character", "malformed_json"}),
    "invalid UTF-8": (_bad_utf8, {"invalid_utf8"}),
    "duplicate key": (_twice, {"duplicate_key"}),
    "naive time": (_replaced(("timestamp",), lambda _: "2024-05-05T05:05:05"), {"naive_time"}),
    "absurd time": (
        _replaced(("timestamp",), lambda chance: chance.choice(_ABSURD_TIMES)),
        {"absurd_time"},
    ),
    "wrong or no message key": (_other_key, {"key_mismatch"}),
}


def messages(count: int, seed: int, large: int = 0, good_every: int = 1) -> Iterator[Message]:
    """`count` bad messages among good ones, `large` of the bad ones of 900 kB.

    Args:
        seed: the same seed gives the same messages.
        good_every: so many bad ones come for each good one.
    """
    chance = random.Random(seed)
    names = [*MUTATIONS]
    kinds = [names[number % len(names)] for number in range(count - large)] + ["large"] * large
    chance.shuffle(kinds)
    for number, kind in enumerate(kinds):
        if number % good_every == 0:
            key, value = _encoded(good(chance, number))
            yield Message(key, value, frozenset())
        mutate, reasons = (_large, {"bad_length"}) if kind == "large" else MUTATIONS[kind]
        fields = good(chance, number) | {"transaction_id": f"bad-{number}"}
        key, value = mutate(chance, fields)
        yield Message(key, value, frozenset(reasons))
