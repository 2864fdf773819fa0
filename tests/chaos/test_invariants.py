"""The invariants can fail: doctored outcomes are found out."""

from dataclasses import replace

import pytest

from tests.chaos.asking import Asked
from tests.chaos.faults import MODELS, Fault
from tests.chaos.invariants import verdict
from tests.chaos.outcome import Outcome

PLAIN = Asked(7, "code question #7", "langchain", "bare", "stream", "text", gives_up=False)
PASSES = [
    {"model": "small", "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}},
    {"model": "large", "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}},
]
TRACE = {"model": "large", "passes": PASSES, "failures": [{"model": "medium", "error": "InternalServerError"}]}
ANSWER = Outcome(PLAIN, "answer", frozenset({13}), "digest", trace=TRACE, usage=(4, 6))
MESSAGE = "Every model of the cascade failed (small: A; medium: B; large: C)"
FAILED = Outcome(PLAIN, "error", error="AllModelsFailed", causes=("A", "B", "C"), message=MESSAGE)
NOTE = "large failed after part of its answer had been streamed; nobody else was asked."
BROKEN = Outcome(PLAIN, "error", frozenset({12}), error="ReadError", notes=(NOTE,))


def record(number, model, fault, usage, *, weak=False, text=None):
    return {
        "number": number,
        "model": model,
        "fault": fault,
        "usage": usage,
        "end": "whole",
        "weak": weak,
        "text": text,
    }


RECORDS = [
    record(11, "small", Fault.NONE, [1, 2], weak=True, text="weak"),
    record(12, "medium", Fault.HALF, [8, 9]),
    record(13, "large", Fault.SLOW, [3, 4], text="digest"),
]
FAULTY = [record(number, model, Fault.RESET, [0, 0]) for number, model in enumerate(MODELS)]


def test_what_is_right_passes():
    assert (verdict(ANSWER, RECORDS).problems, verdict(ANSWER, RECORDS).counted) == ([], 10)
    assert verdict(FAILED, FAULTY).problems == []
    assert verdict(BROKEN, RECORDS).problems == []


def test_of_answers_without_usage_it_is_the_one_that_was_read():
    cut = [record(number, "large", Fault.CUT, [3, 4], text="digest") for number in (13, 14)]
    trace = {**TRACE, "passes": [{"model": "large", "usage": None}]}
    assert verdict(replace(ANSWER, read=frozenset({14}), trace=trace, usage=None), cut).problems == []


@pytest.mark.parametrize(
    ("outcome", "records", "words"),
    [
        (Outcome(PLAIN), RECORDS, "neither an answer nor an error"),
        (replace(ANSWER, read=frozenset({11, 13})), RECORDS, "several answers"),
        (replace(ANSWER, read=frozenset({11})), RECORDS, "rejected draft"),
        (replace(ANSWER, read=frozenset({99})), RECORDS, "another call"),
        (replace(ANSWER, text="half of it"), RECORDS, "not the one that was served"),
        (replace(ANSWER, usage=(3, 4)), RECORDS, "not the sum"),
        (replace(ANSWER, trace={**TRACE, "passes": PASSES[1:]}, usage=(3, 4)), RECORDS, "not counted"),
        (replace(ANSWER, trace={**TRACE, "passes": PASSES * 2}, usage=(8, 12)), RECORDS, "never served"),
        (replace(ANSWER, trace={**TRACE, "model": "medium"}), RECORDS, "none of the passes"),
        (replace(FAILED, told=frozenset({0})), FAULTY, "in an error"),
        (replace(FAILED, read=frozenset({0})), FAULTY, "before all failed"),
        (replace(ANSWER, dropped=frozenset({11})), RECORDS, "did not break"),
        (replace(FAILED, causes=("A", "B")), FAULTY, "not every cause"),
        (replace(FAILED, message="All failed (small: A)"), FAULTY, "not every cause"),
        (FAILED, RECORDS, "though an answer was there"),
        (replace(BROKEN, notes=()), RECORDS, "without causes"),
        (replace(BROKEN, read=frozenset({11}), error="ValueError"), RECORDS, "whole stream"),
    ],
)
def test_what_is_wrong_does_not(outcome, records, words):
    assert any(words in problem for problem in verdict(outcome, records).problems)


def test_a_client_that_asks_again_did_not_wait_for_the_first_answer():
    patient, impatient = (replace(FAILED, asked=replace(PLAIN, setting=one)) for one in ("bare", "retrying"))
    records = [record(1, "large", Fault.NONE, [1, 2]), record(2, "large", Fault.EMPTY_BODY, [3, 4])]
    assert verdict(impatient, records).problems == []
    assert verdict(impatient, records[:1]).problems
    assert verdict(patient, records).problems
