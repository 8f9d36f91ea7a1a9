"""Remembered answers: bounded, for a while, the first one stays."""

from __future__ import annotations

from fraudstream.transaction import decode_transaction
from fraudstream.web.answers import AnswersInMemory, fingerprint_of
from fraudstream.web.service import KeptAnswer


def answer(body: bytes, fingerprint: bytes = b"f", recorded: bool = False) -> KeptAnswer:
    return KeptAnswer(fingerprint, body, recorded)


async def test_an_answer_is_kept_for_as_long_as_the_setting_says() -> None:
    now_s = [0.0]
    answers = AnswersInMemory(10, 60.0, lambda: now_s[0])
    await answers.keep({"a": answer(b"1")})
    now_s[0] = 59.9
    assert await answers.find(["b", "a"]) == [None, answer(b"1")]
    await answers.keep({"a": answer(b"1")})
    now_s[0] = 60.0
    assert await answers.find(["a"]) == [None], "being asked again must not make it live longer"
    assert len(answers) == 0


async def test_the_first_answer_stays() -> None:
    answers = AnswersInMemory(10, 60.0)
    await answers.keep({"a": answer(b"1")})
    assert await answers.keep({"a": answer(b"2")}) == {"a": answer(b"1")}
    assert await answers.keep({"a": answer(b"2", recorded=True)}) == {"a": answer(b"1", recorded=True)}
    assert await answers.keep({"a": answer(b"2", b"other", recorded=True)}) == {"a": answer(b"1", recorded=True)}


async def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    answers = AnswersInMemory(3, 60.0)
    for name in "abcde":
        await answers.keep({name: answer(name.encode())})
    assert len(answers) == 3
    assert [found is not None for found in await answers.find(list("abcde"))] == [False, False, True, True, True]


async def test_none_are_kept_where_the_setting_is_zero() -> None:
    answers = AnswersInMemory(0, 60.0)
    assert await answers.keep({"a": answer(b"1")}) == {"a": answer(b"1")}
    assert len(answers) == 0


def test_the_same_transaction_has_the_same_fingerprint_however_it_is_written() -> None:
    written = (
        b'{"transaction_id":"t","user_id":"u","amount":1.0,"merchant":"m"}',
        b' {"merchant": "m", "note": [1], "amount": 1, "user_id": "u", "transaction_id": "t", "category": null}',
    )
    other = b'{"transaction_id":"t","user_id":"u","amount":1.01,"merchant":"m"}'
    first, second, third = (fingerprint_of(decode_transaction(body)) for body in (*written, other))
    assert first == second != third
