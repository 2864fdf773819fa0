import numpy as np
import pytest

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from tests.langchain_cascade.doubles import ChatScripted
from tests.toy import make_rows, toy_encoder


class Counting:
    """Remembers its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, texts):
        self.batches.append(list(texts))
        return toy_encoder(texts)


@pytest.fixture
def encoder():
    return Counting()


@pytest.fixture
def model(encoder):
    policy = cc.fit(make_rows(90), encoder=encoder, clusters=3, quality=None)
    encoder.batches.clear()
    return CascadeChatModel(policy=policy, models={name: ChatScripted(model_name=name) for name in policy.models})


QUESTIONS = [f"sums question new {number}" for number in range(12)]


def test_a_batch_is_embedded_in_one_go(model, encoder):
    answers = model.batch(QUESTIONS)
    assert encoder.batches == [QUESTIONS]
    assert all(answer.response_metadata["cascade"]["cluster"] is not None for answer in answers)


async def test_an_async_batch_is_embedded_in_one_go(model, encoder):
    assert len(await model.abatch(QUESTIONS)) == len(QUESTIONS)
    assert encoder.batches == [QUESTIONS]


async def test_what_is_wrong_with_one_input_is_told_by_its_own_call(model, encoder):
    asked = [QUESTIONS[0], [], QUESTIONS[1]]
    for found in (model.batch(asked, return_exceptions=True), await model.abatch(asked, return_exceptions=True)):
        assert [isinstance(one, Exception) for one in found] == [False, True, False]
    with pytest.raises(ValueError, match="nothing to answer"):
        model.batch(asked)


def test_an_encoder_that_fails_is_told_by_each_call(encoder):
    policy = cc.fit(make_rows(90), encoder=encoder, clusters=3, quality=None)
    model = CascadeChatModel(policy=policy, models={name: ChatScripted(model_name=name) for name in policy.models})
    policy.encoder.encoder = lambda texts: np.array([[np.nan]] * len(texts))
    found = model.batch(QUESTIONS, return_exceptions=True)
    assert all(isinstance(one, ValueError) for one in found)
