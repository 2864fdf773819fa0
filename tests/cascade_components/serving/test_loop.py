"""The loop that adapters run, sync and async, over models that are slow, fail, or hang."""

import asyncio
import threading
import time
from contextlib import aclosing
from unittest.mock import patch

import pytest

import cascade_components as cc
from cascade_components.answers import Answer
from cascade_components.serving.account import Usage
from cascade_components.serving.call import ServedCall
from cascade_components.serving.health import Health
from cascade_components.serving.loop import adrive, drive
from cascade_components.serving.setup import Serving
from cascade_components.serving.turn import Turn
from cascade_components.trace import Plan

from .conftest import GATED

HANGS = object()
"""A model that answers nothing until its test ends."""


class LimitedError(Exception):
    """A rate limit."""

    status_code = 429

    def __init__(self, retry_after):
        super().__init__("slow down")
        self.headers = {"retry-after": retry_after}


class Asked:
    """An adapter whose models say what they are told: texts, errors to raise, or `HANGS`; the last one again and again.

    A number is a wait, in seconds, before what follows. Streams have their texts word by word.
    """

    def __init__(self, served, says, health):
        self.served, self.lanes = served, health.lanes
        self.says = {name: list(words) if isinstance(words, list) else [words] for name, words in says.items()}
        self.asked, self.ended, self.seen = [], [], ""
        self.let_go, self.last = threading.Event(), None

    def _next(self, model):
        self.asked.append(model)
        words = self.says[model]
        wait = words.pop(0) if isinstance(words[0], float) else 0.0
        return wait, words.pop(0) if len(words) > 1 else words[0]

    def _said(self, found):
        if isinstance(found, Exception):
            raise found
        return found

    def wait_turn(self):
        pass

    async def await_turn(self):
        pass

    def asks(self, model, *, rival):
        def ask():
            wait, found = self._next(model)
            self.let_go.wait(20 if found is HANGS else wait)
            self.ended.append(model)
            return self._said(found)

        return ask

    def aasks(self, model, *, rival):
        async def ask():
            wait, found = self._next(model)
            try:
                await asyncio.sleep(20 if found is HANGS else wait)
                return self._said(found)
            finally:
                self.ended.append(model)

        return ask

    def streams(self, model):
        _, found = self._next(model)
        try:
            for word in found:
                if word is HANGS:
                    self.let_go.wait(20)
                yield self._said(word)
        finally:
            self.ended.append(model)

    async def astreams(self, model):
        _, found = self._next(model)
        try:
            for word in found:
                await asyncio.sleep(20 if word is HANGS else 0)
                yield self._said(word)
        finally:
            self.ended.append(model)

    def receive(self, model, answer):
        self.last = answer
        self.served.close_pass(answer, Usage(10, 5), {"input_tokens": 10}, model=model)

    def take(self, part):
        self.last = part if not self.seen else f"{self.seen} {part}"
        return self.served.read(self.last)

    def consider_release(self):
        self.served.consider_release(Answer(self.last))

    def ready(self):
        self.seen, self.served.seen = self.last, True
        return [self.last.split()[-1]]

    def end_stream(self):
        self.receive(self.served.trace.model, self.last)

    def judge(self):
        cut = "…" in self.last
        self.served.judge(Answer(self.last, finish_reason="length" if cut else "stop"))

    def restarted(self):
        self.seen = ""
        return [self.served.restart] if self.served.restart else []


@pytest.fixture(params=["sync", "async"])
def ask(request, policy):
    """Asks a call, sync and async; returns the adapter and what the caller saw."""
    made = []

    async def ask(says, *, of=None, health=None, turn=None, **resilience):
        of, health = of or policy(), health or Health(jitter=lambda: 0.01)
        settings = cc.Resilience(**resilience)
        able = frozenset(of.models)
        served = ServedCall(
            Serving(of, resilience=settings, health=health), Turn(**{"text": "?", "able": able, **(turn or {})})
        )
        served.begin()
        call = Asked(served, says, health)
        made.append(call)
        if request.param == "sync":
            return call, list(drive(call))
        return call, [part async for part in adrive(call)]

    ask.way = request.param
    yield ask
    for call in made:
        call.let_go.set()
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        thread.join(5)
        assert not thread.is_alive()


def passes(call):
    return [(one["model"], one.get("cancelled", False)) for one in call.served.summary()["passes"]]


# — time-outs —


async def test_a_model_that_takes_too_long_is_a_failure_of_that_model(ask):
    call, _ = await ask({"small": HANGS, "large": "fine"}, timeout={"small": 0.05})
    trace = call.served.trace
    assert (trace.model, trace.path, call.last) == ("large", ("small", "large"), "fine")
    ((name, error),) = trace.failures
    assert (name, str(error)) == ("small", "small sent nothing for 0.05 s.")
    if ask.way == "async":
        assert call.ended == ["small", "large"]


async def test_in_a_stream_each_part_has_its_time(ask):
    call, seen = await ask(
        {"small": [["one", "two", HANGS]], "large": [["fine"]]},
        timeout=0.1,
        turn={"live": True},
        broken_stream="restart",
    )
    assert seen == ["one", "two", {"failed": "small", "model": "large"}, "fine"]
    assert call.served.trace.path == ("small", "large")
    with pytest.raises(TimeoutError, match="small sent nothing") as error:
        await ask({"small": [["one", HANGS]], "large": [["fine"]]}, timeout=0.1, turn={"live": True})
    assert "nobody else was asked" in error.value.__notes__[0]
    call, seen = await ask({"small": [[HANGS]], "large": [["fine"]]}, timeout=0.1, turn={"live": True})
    assert seen == ["fine"]


async def test_without_a_time_out_or_hedging_no_thread_is_started(ask):
    call, _ = await ask({"small": "fine", "large": "fine"})
    call.asks("small", rival=False)
    names = [one.name for one in threading.enumerate() if one.name.startswith("cascade-lane-")]
    assert names == []


# — retries —


async def test_the_next_model_is_asked_rather_than_the_same_again(ask):
    call, _ = await ask({"small": TimeoutError(), "large": "fine"}, retries=2)
    assert call.asked == ["small", "large"]


async def test_the_last_model_left_is_asked_again_if_that_may_help(ask):
    call, _ = await ask({"small": TimeoutError(), "large": [ConnectionError(), LimitedError("0"), "fine"]}, retries=2)
    assert call.asked == ["small", "large", "large", "large"]
    assert call.served.trace.path == ("small", "large", "large", "large")
    assert "large failed (LimitedError): it is asked again" in call.served.trace.reason
    with pytest.raises(cc.AllModelsFailed) as failure:
        await ask({"small": TimeoutError(), "large": ConnectionError()}, retries=1)
    assert [type(one) for one in failure.value.exceptions] == [TimeoutError, ConnectionError, ConnectionError]
    with pytest.raises(cc.AllModelsFailed) as failure:
        await ask({"small": TimeoutError(), "large": ValueError()}, retries=1)
    assert len(failure.value.exceptions) == 2


async def test_each_model_is_asked_again_on_request(ask):
    call, _ = await ask({"small": [TimeoutError(), "fine"], "large": "fine"}, retries=1, retry="each")
    assert (call.asked, call.served.trace.model) == (["small", "small"], "small")
    call, _ = await ask({"small": [LimitedError("30"), "fine"], "large": "fine"}, retries=1, retry="each")
    assert call.asked == ["small", "large"]


async def test_a_retry_keeps_the_gate(ask, policy):
    call, _ = await ask(
        {"small": [TimeoutError(), "poor"], "large": "fine"}, of=policy(GATED, 0.1), retries=1, retry="each"
    )
    assert (call.served.trace.path, call.last) == (("small", "small", "large"), "fine")


async def test_a_failed_escalation_is_tried_again_before_the_weak_answer_stands(ask, policy):
    says = {"small": "poor", "large": [TimeoutError(), "fine"]}
    call, _ = await ask(says, of=policy(GATED, 0.1), retries=1)
    assert (call.last, call.served.trace.model) == ("fine", "large")
    call, _ = await ask({**says, "large": TimeoutError()}, of=policy(GATED, 0.1), retries=1)
    assert (call.served.accepted.answer, call.asked) == ("poor", ["small", "large", "large"])


# — hedging —


async def test_a_rival_that_is_faster_wins_and_the_loser_is_cancelled_and_counted(ask):
    call, _ = await ask({"small": HANGS, "large": "fine"}, hedge=0.05)
    trace = call.served.trace
    assert (trace.model, trace.path, call.last) == ("large", ("small", "large"), "fine")
    assert trace.reasons[1:3] == (
        "large is asked as well: small took longer than 0.05 s",
        "large answered before small",
    )
    assert passes(call) == [("large", False), ("small", True)]
    assert call.served.summary()["cost_usd"] == pytest.approx(0.15 + 0.02)  # small: as many tokens as usual
    if ask.way == "async":
        assert call.ended == ["large", "small"]


async def test_a_first_model_that_is_good_and_faster_wins(ask):
    call, _ = await ask({"small": [0.3, "fine"], "large": HANGS}, hedge=0.05)
    assert (call.served.trace.model, call.served.trace.path) == ("small", ("small",))
    assert passes(call) == [("small", False), ("large", True)]
    assert call.served.summary()["cost_usd"] == pytest.approx(0.015 + 0.2)


async def test_a_fast_model_has_no_rival(ask):
    call, _ = await ask({"small": "fine", "large": "fine"}, hedge=5)
    assert (call.asked, passes(call)) == (["small"], [("small", False)])


async def test_a_rejected_answer_is_replaced_by_the_one_that_is_on_its_way(ask, policy):
    call, _ = await ask({"small": [0.25, "poor"], "large": [0.4, "fine"]}, of=policy(GATED, 0.1), hedge=0.05)
    assert (call.asked, call.served.trace.path, call.last) == (["small", "large"], ("small", "large"), "fine")
    assert passes(call) == [("small", False), ("large", False)]


@pytest.mark.parametrize("first", [ConnectionError(), "poor"])
async def test_in_a_stream_too_who_is_on_its_way_is_not_asked_again(ask, policy, first):
    says = {"small": [0.2, first], "large": [0.5, "fine"]}
    call, _ = await ask(says, of=policy(GATED, 0.1), hedge=0.05, turn={"live": True})
    assert (call.asked, call.last) == (["small", "large"], "fine")
    assert passes(call)[-1] == ("large", False)


async def test_if_the_first_fails_its_rival_is_waited_for(ask):
    call, _ = await ask({"small": [0.25, ConnectionError()], "large": [0.3, "fine"]}, hedge=0.05)
    assert (call.asked, call.served.trace.path) == (["small", "large"], ("small", "large"))


async def test_if_the_rival_fails_the_first_is_waited_for(ask):
    call, _ = await ask({"small": [0.3, "fine"], "large": ConnectionError()}, hedge=0.05)
    assert (call.served.trace.model, call.last) == ("small", "fine")
    assert [name for name, _ in call.served.trace.failures] == ["large"]
    with pytest.raises(cc.AllModelsFailed) as failure:
        await ask({"small": [0.3, TimeoutError()], "large": ConnectionError()}, hedge=0.05)
    assert {type(one) for one in failure.value.exceptions} == {TimeoutError, ConnectionError}


async def test_a_rival_whose_answer_fails_a_check_does_not_win(ask):
    call, _ = await ask({"small": [0.3, "fine"], "large": "cut…"}, hedge=0.05)
    trace = call.served.trace
    assert (trace.model, trace.path, trace.failed_checks) == ("small", ("large", "small"), ("truncated",))
    call, _ = await ask({"small": [0.3, ConnectionError()], "large": "cut…"}, hedge=0.05)
    assert (call.served.trace.model, call.served.accepted.answer) == ("large", "cut…")


async def test_the_models_own_times_decide_once_enough_are_known(ask):
    health = Health()
    for _ in range(20):
        health.latencies.add("small", 0.05)
    call, _ = await ask({"small": HANGS, "large": "fine"}, hedge=10, health=health)
    assert call.served.trace.model == "large"
    assert health.latencies.p95("small") >= 0.05


async def test_a_stream_is_not_hedged_and_what_is_heard_neither(ask):
    call, _ = await ask({"small": [["one"]], "large": [["two"]]}, hedge=1e-6, turn={"live": True})
    assert call.asked == ["small"]
    assert not call.served.held


async def test_a_time_out_of_the_first_is_its_failure_while_the_rival_goes_on(ask):
    call, _ = await ask({"small": HANGS, "large": [0.5, "fine"]}, hedge=0.05, timeout={"small": 0.25})
    assert (call.served.trace.model, call.asked) == ("large", ["small", "large"])
    assert [name for name, _ in call.served.trace.failures] == ["small"]


async def test_a_third_model_may_still_be_asked(ask, policy):
    of = policy(Plan("small", "medium", 0.5), 0.1, models=("small", "medium", "large"))
    call, _ = await ask(
        {"small": [0.25, "poor"], "medium": HANGS, "large": "fine"}, of=of, hedge=0.05, timeout={"medium": 0.4}
    )
    assert call.served.trace.path == ("small", "medium", "large")
    assert call.last == "fine"


# — circuits —


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def test_a_model_that_is_out_is_left_out_and_comes_back(ask):
    clock = Clock()
    health = Health(clock)
    says = {"small": [LimitedError("12"), "back"], "large": "fine"}
    call, _ = await ask(says, health=health)
    assert call.asked == ["small", "large"]
    call, _ = await ask(says, health=health)
    assert (call.asked, call.served.trace.path) == (["large"], ("large",))
    assert call.served.trace.reason.startswith("cluster 0: large (small: rate limited for 12 s more)")
    clock.now = 12
    call, _ = await ask({"small": "back", "large": "fine"}, health=health)
    assert call.asked == ["small"]
    call, _ = await ask({"small": "back", "large": "fine"}, health=health)
    assert (call.asked, "rate limited" in call.served.trace.reason) == (["small"], False)


async def test_if_everybody_is_out_everybody_is_asked(ask):
    health = Health()
    for _ in range(2):
        with pytest.raises(cc.AllModelsFailed):
            await ask({"small": LimitedError("60"), "large": LimitedError("60")}, health=health)
    call, _ = await ask({"small": "back", "large": "fine"}, health=health)
    assert call.asked == ["small"]


async def test_an_escalation_target_that_is_out_is_not_asked_and_its_trial_is_left_to_who_needs_it(ask, policy):
    clock = Clock()
    health, gated = Health(clock), policy(GATED, 0.1)
    says = {"small": "poor", "large": LimitedError("12")}
    call, _ = await ask(says, of=gated, health=health)
    assert call.asked == ["small", "large"]
    call, _ = await ask(says, of=gated, health=health)
    assert (call.asked, "(large: rate limited for 12 s more)" in call.served.trace.reason) == (["small"], True)
    clock.now = 12
    call, _ = await ask({"small": "good", "large": "fine"}, of=policy(GATED, 0.9), health=health)
    assert call.asked == ["small"]
    call, _ = await ask({"small": "poor", "large": "fine"}, of=gated, health=health)
    assert call.asked == ["small", "large"]


async def test_without_breakers_nobody_is_left_out(ask):
    health = Health()
    for _ in range(3):
        call, _ = await ask({"small": LimitedError("60"), "large": "fine"}, health=health, breaker=False)
        assert call.asked == ["small", "large"]


# — cancellation —


async def test_a_cancelled_call_cancels_its_models(ask):
    if ask.way == "sync":
        return
    health = Health()
    for settings, asked in (({}, {"small"}), ({"hedge": 0.02}, {"small", "large"}), ({"timeout": 10}, {"small"})):
        calls = []
        task = asyncio.create_task(_remember(ask, calls, {"small": HANGS, "large": HANGS}, health, settings))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        assert set(calls[0].ended) == asked


async def _remember(ask, calls, says, health, settings):
    made = Asked.__init__

    def remember(self, *given):
        calls.append(self)
        made(self, *given)

    with patch.object(Asked, "__init__", remember):
        await ask(says, health=health, **settings)


async def test_a_stream_that_the_caller_closes_closes_the_models(policy):
    for way in ("sync", "async"):
        for timeout in (None, 10):
            of, health = policy(), Health()
            served = ServedCall(
                Serving(of, resilience=cc.Resilience(timeout=timeout), health=health),
                Turn(text="?", able=frozenset(of.models), live=True),
            )
            served.begin()
            call = Asked(served, {"small": [["one", "two", "three"]], "large": "fine"}, health)
            if way == "sync":
                parts = drive(call)
                assert next(parts) == "one"
                parts.close()
            else:
                async with aclosing(adrive(call)) as parts:
                    assert await anext(parts) == "one"
            assert (call.asked, call.ended) == (["small"], ["small"])


# — many at once —


def test_many_threads_share_what_is_learnt(policy):
    health, of = Health(), policy()
    settings = cc.Resilience(failing_for=0, hedge=5, timeout=5)
    asked = []

    def one():
        served = ServedCall(Serving(of, resilience=settings, health=health), Turn(text="?", able=frozenset(of.models)))
        served.begin()
        call = Asked(served, {"small": ConnectionError(), "large": "fine"}, health)
        list(drive(call))
        asked.append(tuple(call.asked))

    threads = [threading.Thread(target=one) for _ in range(60)]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(asked) == 60
    assert set(asked) == {("small", "large"), ("large",)}
