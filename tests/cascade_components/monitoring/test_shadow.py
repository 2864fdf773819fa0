import asyncio
import contextvars
import logging
import threading
import time
from dataclasses import replace

import pytest

import cascade_components as cc
from cascade_components.monitoring.shadow import ShadowCounts
from tests.cascade_components.monitoring.driving import World, answer


@pytest.fixture(scope="module")
def gated(policy):
    """A trace before and after its answer was accepted at a gate."""
    cascade = cc.Cascade(policy)
    for query, rows in World().queries(100):
        before = cascade.start(query)
        after = cascade.judge(before, answer(rows[before.model]))
        if before.gated and after.done:
            return before, after
    raise AssertionError


def asking(text="better"):
    return lambda: text


async def aasking():
    return "better"


class TestChoice:
    def test_it_is_the_same_for_the_same_seed(self):
        ids = [str(number) for number in range(20_000)]
        one, other, third = (cc.Shadow(0.1, sink=print, seed=seed) for seed in (1, 1, 2))
        chosen = [one.chooses(name) for name in ids]
        assert chosen == [other.chooses(name) for name in ids]
        assert chosen != [third.chooses(name) for name in ids]
        assert 0.09 < sum(chosen) / len(ids) < 0.11
        assert not any(map(cc.Shadow(0.0, sink=print).chooses, ids))
        assert all(map(cc.Shadow(1.0, sink=print).chooses, ids))

    def test_only_answers_that_a_gate_accepted_are_asked_again(self, policy, gated):
        shadow = cc.Shadow(1.0, sink=print)
        before, after = gated
        assert shadow.target(before, after) == before.target
        assert cc.Shadow(0.0, sink=print).target(before, after) is None
        escalated = cc.Cascade(policy).judge(before, "", failed_checks=["empty"])
        named = cc.Cascade(policy).start("sums", model="small")
        for first, second in [
            (before, escalated),
            (named, cc.Cascade(policy).judge(named, "x")),
            (before, replace(after, scores=(None,))),  # only tool calls, or no estimator could read it
            (before, replace(after, available=frozenset({before.model}))),
        ]:
            assert shadow.target(first, second) is None

    @pytest.mark.parametrize("wrong", [{"share": 1.5}, {"share": -0.1}, {"most": 0}])
    def test_bad_arguments_are_named(self, wrong):
        with pytest.raises(ValueError, match="Shadow: share must be from 0 to 1 and most at least 1"):
            cc.Shadow(**{"sink": print, **wrong})


class TestThreads:
    def test_both_answers_come_to_the_sink(self, gated):
        _, after = gated
        found = []
        with cc.Shadow(1.0, sink=found.append) as shadow:
            assert shadow.submit(after, "good", "large", asking())
        assert found == [cc.ShadowAnswer(after.id, after.query, after.model, "good", "large", "better")]
        assert shadow.counts == ShadowCounts(delivered=1)
        assert "good" not in repr(found)

    def test_the_user_waits_for_nothing_and_too_many_are_dropped(self, gated):
        _, after = gated
        gate, found = threading.Event(), []
        shadow = cc.Shadow(1.0, sink=found.append, most=2)
        began = time.perf_counter()
        taken = [shadow.submit(after, "good", "large", lambda: str(gate.wait(20))) for _ in range(5)]
        assert time.perf_counter() - began < 5
        assert taken == [True, True, False, False, False]
        gate.set()
        shadow.close()
        assert shadow.counts == ShadowCounts(delivered=2, dropped=3)
        assert not [thread for thread in threading.enumerate() if thread.name == "cascade-shadow"]

    def test_errors_are_counted_and_each_kind_is_logged_once(self, gated, caplog):
        _, after = gated

        def broken():
            raise OSError("my-secret")

        def sink(_):
            raise KeyError("my-secret")

        with caplog.at_level(logging.WARNING), cc.Shadow(1.0, sink=sink, most=10) as shadow:
            for ask in (broken, broken, asking(), asking()):
                shadow.submit(after, "good", "large", ask)
        assert shadow.counts == ShadowCounts(failed=4)
        assert len(caplog.records) == 2
        assert "my-secret" not in caplog.text

    def test_what_hangs_is_not_waited_for_longer_than_asked(self, gated):
        _, after = gated
        gate, found = threading.Event(), []
        shadow = cc.Shadow(1.0, sink=found.append)
        shadow.submit(after, "good", "large", lambda: str(gate.wait(20)))
        shadow.close(timeout=0.01)
        gate.set()
        shadow.close()
        assert (found, shadow.counts) == ([], ShadowCounts(dropped=1))
        assert not shadow.submit(after, "good", "large", asking())


class TestTasks:
    async def test_both_answers_come_to_the_sink(self, gated):
        _, after = gated
        found = []

        async def sink(pair):
            found.append(pair.target_answer)

        for one in (sink, lambda pair: found.append(pair.target_answer)):
            async with cc.Shadow(1.0, sink=one) as shadow:
                assert shadow.start(after, "good", "large", aasking)
            assert shadow.counts == ShadowCounts(delivered=1)
        assert found == ["better", "better"]

    async def test_nothing_of_the_users_context_is_there(self, gated):
        _, after = gated
        run, seen = contextvars.ContextVar("run", default="none"), []
        run.set("the user's")

        async def ask():
            seen.append(run.get())
            return "better"

        async with cc.Shadow(1.0, sink=seen.append) as shadow:
            shadow.start(after, "good", "large", ask)
        assert seen[0] == "none"

    async def test_errors_reach_nobody(self, gated, caplog):
        _, after = gated

        async def broken():
            raise OSError

        async with cc.Shadow(1.0, sink=print) as shadow:
            for _ in range(3):
                shadow.start(after, "good", "large", broken)
        assert shadow.counts == ShadowCounts(failed=3)
        assert len(caplog.records) == 1

    async def test_too_many_are_dropped_and_what_is_late_is_cancelled(self, gated):
        _, after = gated
        cancelled = []

        async def hang():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise

        shadow = cc.Shadow(1.0, sink=print, most=2)
        assert [shadow.start(after, "good", "large", hang) for _ in range(3)] == [True, True, False]
        await asyncio.sleep(0)
        await shadow.aclose(timeout=0.01)
        assert (len(cancelled), shadow.counts) == (2, ShadowCounts(dropped=3))
        assert len(asyncio.all_tasks()) == 1


def test_labels_become_feedback(policy, gated):
    """What shadow sampling is for: the sink labels the accepted answer, and the monitor learns of it."""
    _, after = gated
    monitor = cc.Monitor(policy)
    monitor.record(after)

    def label(pair):
        monitor.record_feedback(pair.trace_id, float(pair.answer == pair.target_answer))

    with cc.Shadow(1.0, sink=label) as shadow:
        shadow.submit(after, "same", "large", asking("same"))
    (cell,) = monitor.feedback.cells
    assert (cell.model, cell.stood, cell.count, cell.correct) == (after.model, "accepted", 1, 1.0)
