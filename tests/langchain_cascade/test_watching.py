"""A monitor hears of every call, a shadow asks the target off the caller's path; neither can cost an answer."""

import logging
import pickle

import pytest
from langchain_core.callbacks import BaseCallbackHandler

import cascade_components as cc
from cascade_components.serving.watching import _log_once
from langchain_cascade import CascadeChatModel
from tests.toy import make_rows, toy_encoder

from .doubles import ChatScripted, policy, pool
from .ways import QUESTION, ask, trace_of

WAYS = ("invoke", "stream", "ainvoke", "astream")


class Heard(BaseCallbackHandler):
    """Which models' runs the caller's callbacks hear."""

    def __init__(self):
        self.models = []

    def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
        self.models.append(metadata["cascade_model"])


class Recorder:
    def __init__(self, error=None):
        self.told, self.error = [], error

    def record(self, trace, *, latency_ms):
        self.told.append((trace, latency_ms))
        if self.error:
            raise self.error


class TestMonitor:
    @pytest.mark.parametrize("way", WAYS)
    async def test_it_hears_how_a_call_ended(self, way):
        monitor = Recorder()
        model = CascadeChatModel(policy=policy(0.2), models=pool(), monitor=monitor)
        message = await ask(way, model)
        ((told, latency_ms),) = monitor.told
        assert told == trace_of(message)
        assert latency_ms > 0

    async def test_it_cannot_cost_an_answer(self, caplog):
        _log_once.cache_clear()
        model = CascadeChatModel(policy=policy(), models=pool(), monitor=Recorder(KeyError("a secret")))
        with caplog.at_level(logging.WARNING):
            assert {(await ask(way, model)).text for way in WAYS} == {"small says so"}
        assert [one.getMessage() for one in caplog.records] == [
            "Watching a call failed (KeyError); further failures of this kind are not logged."
        ]

    def test_a_real_one_takes_feedback_on_the_call(self):
        fitted = cc.fit(make_rows(), encoder=toy_encoder, quality=None, progress=False)
        monitor = cc.Monitor(fitted)
        models = {name: ChatScripted(model_name=name) for name in fitted.models}
        model = CascadeChatModel(policy=fitted, models=models, monitor=monitor)
        trace = trace_of(model.invoke("poems question 7"))
        assert monitor.record_feedback(trace["id"], correct=1.0)
        refreshed = fitted.refresh(monitor.feedback)
        assert refreshed.models == fitted.models


class TestShadow:
    @pytest.mark.parametrize("way", WAYS)
    async def test_the_target_is_asked_as_well(self, way):
        answers, heard = [], Heard()
        shadow = cc.Shadow(1.0, sink=answers.append)
        model = CascadeChatModel(policy=policy(0.9), models=pool(), shadow=shadow)
        message = await ask(way, model, config={"callbacks": [heard]})
        await shadow.aclose()
        (found,) = answers
        trace = trace_of(message)
        assert (found.trace_id, found.query) == (trace["id"], QUESTION)
        assert (found.model, found.answer) == ("small", "small says so")
        assert (found.target, found.target_answer) == ("large", "large says so")
        assert heard.models == ["small"]
        assert trace["path"] == ["small"]

    @pytest.mark.parametrize("probability", [None, 0.2])
    async def test_ungated_and_escalated_answers_have_no_shadow(self, probability):
        answers = []
        with cc.Shadow(1.0, sink=answers.append) as shadow:
            model = CascadeChatModel(policy=policy(probability), models=pool(), shadow=shadow)
            model.invoke(QUESTION)
        assert answers == []

    @pytest.mark.parametrize("way", WAYS)
    async def test_a_failing_target_reaches_nobody(self, way):
        shadow = cc.Shadow(1.0, sink=print)
        models = pool(large=ValueError("out of order"))
        message = await ask(way, CascadeChatModel(policy=policy(0.9), models=models, shadow=shadow))
        await shadow.aclose()
        assert message.text == "small says so"
        assert shadow.counts.failed == 1

    def test_it_goes_through_pickle(self):
        shadow = cc.Shadow(0.5, sink=print, seed=3)
        again = pickle.loads(pickle.dumps(shadow))
        ids = [str(number) for number in range(50)]
        assert [again.chooses(one) for one in ids] == [shadow.chooses(one) for one in ids]
