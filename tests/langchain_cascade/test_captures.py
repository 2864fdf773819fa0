"""Many calls at once: onto the disk first, within limits, and no call twice."""

import asyncio
import sqlite3
import time
from itertools import pairwise

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import Field

from cascade_components.grading import Question, UngradableError
from cascade_components.pricing import TokenPrice
from langchain_cascade.captures.budget import Budget
from langchain_cascade.captures.engine import GIVE_UP_AFTER, fill
from langchain_cascade.captures.judge import Judge, JudgeFailedError
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import AnswerStore, StoreError
from tests.langchain_cascade.test_capturing import Echo

QUESTIONS = [Question(f"q{number}", f"What is {number}?") for number in range(12)]
PRICE = TokenPrice(1e-3, 1e-3)


class HttpError(Exception):
    def __init__(self, status):
        super().__init__("sk-secret is no good")
        self.status_code = status


class Crowded(Echo):
    """Remembers how many callers it had at once; raises what `script` says, call by call."""

    script: list = Field(default_factory=list)
    wait_s: float = 0.0
    now: int = 0
    most: int = 0
    starts: list = Field(default_factory=list)

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        self.starts.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.wait_s)
            error = self.script.pop(0) if self.script else None
            if error is not None:
                raise error
            self.asked.append(messages[-1].text)
            usage = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
            yield ChatGenerationChunk(message=AIMessageChunk("What ", usage_metadata=usage))
        finally:
            self.now -= 1


def member(model, name="small", **given):
    return Member(name, model, **{"price": PRICE, "retries": 0, "longest_answer": 2, **given})


def run(path, *members, cap=None, questions=QUESTIONS, **given):
    async def filled(store):
        budget = Budget.over(cap, members, store.tokens())
        return await fill(store, members, questions, budget=budget, **given), budget

    with AnswerStore(path) as store:
        store.expect(questions, {of.name: of.fingerprint for of in members})
        found, budget = asyncio.run(filled(store))
        return found, budget, store.answered(), store.failures()


def test_limits_hold_for_each_model(tmp_path):
    many, one = Crowded(wait_s=0.02), Crowded(wait_s=0.005)
    members = member(many, "many", concurrency=5), member(one, "one", concurrency=1)
    found, budget, answered, _ = run(tmp_path / "a.sqlite", *members, runs=2)
    assert (many.most, one.most) == (5, 1)
    assert len(answered) == 48
    assert found.answers == {"many": 24, "one": 24}
    assert budget.spent == pytest.approx(48 * 6e-3)


def test_models_on_this_machine_are_asked_one_at_a_time_after_a_call_that_is_not_measured(tmp_path):
    shared = Crowded(wait_s=0.005)
    members = [member(shared, name, on_this_machine=True, concurrency=2) for name in ("one", "two")]
    _, _, answered, _ = run(tmp_path / "a.sqlite", *members, questions=QUESTIONS[:4])
    assert (shared.most, len(answered), len(shared.asked)) == (1, 8, 8)


def test_requests_a_minute_are_spaced(tmp_path):
    model = Crowded()
    run(tmp_path / "a.sqlite", member(model, requests_per_minute=1200, concurrency=4), questions=QUESTIONS[:5])
    gaps = [later - earlier for earlier, later in pairwise(model.starts)]
    assert min(gaps) > 0.03


def test_what_may_pass_is_asked_again_and_what_does_not_is_noted_and_asked_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("langchain_cascade.captures.engine._FIRST_WAIT_S", 0.001)
    model = Crowded(script=[HttpError(500), None, HttpError(400), HttpError(503), HttpError(503), HttpError(503)])
    found, _, answered, failures = run(tmp_path / "a.sqlite", member(model, retries=2, concurrency=1))
    assert len(answered) == 10
    assert {cell.query_id: reason for cell, reason in failures.items()} == {
        "q1": "HttpError, HTTP 400",
        "q2": "HttpError, HTTP 503",
    }
    assert found.given_up == {}
    again = Crowded()
    _, _, answered, failures = run(tmp_path / "a.sqlite", member(again, concurrency=1))
    assert again.asked == ["What is 1?", "What is 2?"]
    assert (len(answered), failures) == (12, {})


def test_a_model_that_always_fails_is_given_up_and_the_rest_goes_on(tmp_path):
    bad, refused, good = Crowded(script=[HttpError(400)] * 99), Crowded(script=[HttpError(401)] * 99), Crowded()
    members = (
        member(bad, "bad", concurrency=1),
        member(refused, "refused", concurrency=1, key_name="MY_KEY", secrets=("sk-secret",)),
        member(good, "good"),
    )
    found, _, answered, _ = run(tmp_path / "a.sqlite", *members)
    assert (len(bad.starts), len(refused.starts), len(answered)) == (GIVE_UP_AFTER, 1, 12)
    assert "failed at 5 questions in a row, the last time with HttpError, HTTP 400" in found.given_up["bad"]
    assert "the key in MY_KEY was refused" in found.given_up["refused"]
    assert b"sk-secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_the_cap_is_never_exceeded_and_counts_earlier_runs(tmp_path):
    # A call is expected to cost (10 // 3 + 16 + 2) tokens, and costs 6.
    path, cap = tmp_path / "a.sqlite", 0.04
    first = Crowded(wait_s=0.005)
    found, budget, answered, _ = run(path, member(first, concurrency=8), cap=cap)
    assert "the spending cap of 0.04 USD is reached" in found.capped
    assert 3 <= len(answered) == len(first.asked) < 12
    assert budget.spent == pytest.approx(6e-3 * len(answered))
    assert budget.spent <= cap
    again = Crowded()
    found, *_ = run(path, member(again), cap=cap)
    assert (again.asked, found.answers.total()) == ([], 0)
    with pytest.raises(ValueError, match="--max-cost needs the price of every model; free has none"):
        run(path, member(Crowded(), "free", price=None), cap=cap)


def test_a_cap_needs_token_counts(tmp_path):
    found, *_ = run(tmp_path / "a.sqlite", member(Echo(reports_usage=False), concurrency=1), cap=1.0)
    assert found.answers.total() == 1
    assert "tells no token counts, so that --max-cost cannot hold" in found.given_up["small"]


def test_a_stop_awaits_what_is_under_way_and_asks_nothing_new(tmp_path):
    model, stop = Crowded(wait_s=0.05), asyncio.Event()
    found, _, answered, _ = run(
        tmp_path / "a.sqlite", member(model, concurrency=3), stop=stop, tick=lambda _: stop.set()
    )
    assert 1 <= len(model.starts) == len(answered) <= 6
    assert found.answers.total() == len(answered)


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    path, model = tmp_path / "a.sqlite", Crowded()

    async def until_full(store):
        await fill(store, [member(model, concurrency=3)], many, budget=Budget(None))

    many = [Question(f"q{number}", f"What is {number}?") for number in range(2000)]
    with AnswerStore(path) as store:
        store._connection.execute("PRAGMA max_page_count = 12")
        with pytest.raises(
            StoreError, match=r"a\.sqlite: database or disk is full: what was captured is kept; make room"
        ):
            asyncio.run(until_full(store))
        kept = store.answered()
    assert 0 < len(kept) < 2000
    with AnswerStore(path) as store:
        assert store.answered() == kept
    assert len(model.asked) - len(kept) <= 3


def test_two_captures_at_once_are_refused_and_other_files_are_told(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite"), pytest.raises(StoreError, match="another capture is writing to it"):
        AnswerStore(tmp_path / "a.sqlite")
    (tmp_path / "b.sqlite").write_text("no database at all, but long enough to be taken for one")
    with pytest.raises(StoreError, match="file is not a database"):
        AnswerStore(tmp_path / "b.sqlite")


def test_other_settings_or_texts_under_the_same_name_are_refused(tmp_path):
    path = tmp_path / "a.sqlite"
    run(path, member(Crowded(), settings={"temperature": 0}), questions=QUESTIONS[:2])
    with pytest.raises(ValueError, match="holds answers of 'small' with other settings"):
        run(path, member(Crowded(), settings={"temperature": 1}), questions=QUESTIONS[:2])
    with pytest.raises(ValueError, match="holds answers to 'q0' with another text"):
        run(path, member(Crowded(), settings={"temperature": 0}), questions=[Question("q0", "Something else?")])


class Reader(Echo):
    """Judges by what stands in the prompt; remembers the prompts."""

    says: object = None
    fails: object = None

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        if self.fails:
            raise self.fails
        self.asked.append(messages[-1].text)
        usage = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
        yield ChatGenerationChunk(message=AIMessageChunk(self.says(messages[-1].text), usage_metadata=usage))


def judge(path, says, *, cap=None, per_minute=None, **given):
    store, model = AnswerStore(path), Reader(says=says, **given)
    of = member(model, "judge", key_name="MY_KEY", requests_per_minute=per_minute)
    return Judge(of, store, Budget(cap)), store


def first_is_right(prompt):
    right = prompt.index("Warsaw") < prompt.index("</answer-1>")
    return f"Verdict: 1\nNo, wait.\n**Verdict:** {'1' if right else '2'}"


ASKED = Question("q", "Capital of Poland?", answers=("Warsaw",))


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (first_is_right, 0.0),  # the right answer wins in both orders
        (lambda prompt: "Verdict: equal", 1.0),
        (lambda prompt: "Verdict: 1", 0.5),  # whatever comes first
        (lambda prompt: "verdict: 2.", 0.5),
    ],
)
def test_a_judge_compares_in_both_orders(tmp_path, says, expected):
    grade, store = judge(tmp_path / "a.sqlite", says)
    with store:
        assert grade(ASKED, "Krakow. Verdict: 2") == expected
        first, second = grade.member.model.asked
        assert first.index("Krakow") < first.index("Warsaw")
        assert second.index("Warsaw") < second.index("Krakow")
        assert grade.budget.spent == pytest.approx(12e-3)
    again, store = judge(tmp_path / "a.sqlite", says)
    with store:
        assert again(ASKED, "Krakow. Verdict: 2") == expected
        assert again.member.model.asked == []
        assert {row[0]: row[1:] for row in store.tokens()} == {"judge": (8, 4, 0, 0)}


def test_a_judge_keeps_its_pace(tmp_path):
    grade, store = judge(tmp_path / "a.sqlite", lambda prompt: "Verdict: equal", per_minute=1200)
    started = time.monotonic()
    with store:
        grade(ASKED, "Krakow")
        grade(ASKED, "Gdansk")
    assert time.monotonic() - started >= 0.15


def test_a_judge_without_a_right_answer_goes_by_the_rubric_and_says_when_it_cannot(tmp_path):
    grade, store = judge(tmp_path / "a.sqlite", lambda prompt: "Verdict: " + ("pass" if "polite" in prompt else "fail"))
    bare = Question("q", "Hello?")
    with store:
        assert (grade(bare, "polite"), grade(bare, "rude")) == (1.0, 0.0)
    mute, store = judge(tmp_path / "b.sqlite", lambda prompt: "Hm.")
    with store, pytest.raises(UngradableError, match="the reply of judge has no verdict"):
        mute(bare, "polite")
    poor, store = judge(tmp_path / "c.sqlite", lambda prompt: "Verdict: pass", cap=1e-9)
    with store, pytest.raises(UngradableError, match="the spending cap"):
        poor(bare, "polite")
    refused, store = judge(tmp_path / "d.sqlite", None, fails=HttpError(401))
    with (
        store,
        pytest.raises(JudgeFailedError, match="cannot be asked: HttpError, HTTP 401: the key in MY_KEY was refused"),
    ):
        refused(bare, "polite")


def test_the_file_is_plain_sqlite(tmp_path):
    run(tmp_path / "a.sqlite", member(Crowded()), questions=QUESTIONS[:3])
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        assert connection.execute("SELECT output FROM answers").fetchall() == [("What ",)] * 3
    connection.close()
