"""Cascades over real clients of the server: LangChain's and LlamaIndex's, each in several settings."""

import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
from langchain_openai import ChatOpenAI
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from llama_index.llms.cascade import CascadeLLM
from tests.chaos.answers import QUESTION
from tests.chaos.server import ALIASES
from tests.toy import make_rows, toy_encoder

_REMEMBERED = 100
"""Vectors; fewer than a fit remembers."""

_UNREADABLE = 61
"""The estimator raises, or gives no number, for one question in so many."""


@dataclass(frozen=True)
class Setting:
    """How cascades and their clients are set up."""

    resilience: Mapping = field(default_factory=dict)
    timeout_s: float = 0.8
    """Of the clients: much longer than a slow answer, much shorter than a hang."""
    retries: int = 0
    """Of the clients."""


SETTINGS = {
    "bare": Setting({"breaker": False}),
    "defaults": Setting(),
    "retrying": Setting(retries=1),
    # The clients are patient enough: it is the cascade that gives calls up.
    "hedging": Setting(
        {"timeout": 0.6, "hedge": 0.12, "retries": 1, "retry_wait": 0.05, "broken_stream": "restart"}, timeout_s=3
    ),
}


class Threads:
    """Which threads the cascades' own work was done in."""

    def __init__(self):
        self.seen = set()

    def __call__(self, texts):
        """Encode."""
        self.seen.add(threading.get_ident())
        return toy_encoder(texts)


class Doubts:
    """Believes what is sure; for some questions it raises, or gives no number."""

    def predict_proba(self, queries, answers):
        """P(correct) of each answer."""
        return np.array([self._one(query, answer.text) for query, answer in zip(queries, answers, strict=True)])

    @staticmethod
    def _one(query, text):
        found = QUESTION.search(query)
        number = int(found[1]) if found else 1
        if number % _UNREADABLE == 0:
            if number % 2:
                raise RuntimeError(text)
            return float("nan")
        return 0.9 if "sure" in text else 0.2


def fitted(encoder):
    """A policy with two gated clusters, and one that is not; its cache of vectors is full: it no longer grows."""
    policy = cc.fit(make_rows(), encoder=encoder, clusters=3, quality=Doubts(), cost_weight=0.5)
    policy.encoder.trim(_REMEMBERED)
    return policy


@asynccontextmanager
async def pools(server, policy):
    """Cascades by framework and setting; their clients' connections are closed at the end."""
    async with AsyncExitStack() as open_clients:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        http = open_clients.enter_context(httpx.Client(limits=limits))
        ahttp = await open_clients.enter_async_context(httpx.AsyncClient(limits=limits))
        found = {}
        for name, setting in SETTINGS.items():
            common = {
                "api_key": "none",
                "max_retries": setting.retries,
                "timeout": setting.timeout_s,
                "http_client": http,
            }
            chat = {
                model: ChatOpenAI(
                    model=model, base_url=server.url, stream_usage=True, http_async_client=ahttp, **common
                )
                for model in policy.models
            }
            llms = {
                model: OpenAI(
                    model=alias,
                    api_base=server.url,
                    async_http_client=ahttp,
                    additional_kwargs={"stream_options": {"include_usage": True}},
                    **common,
                )
                for alias, model in ALIASES.items()
            }
            given = setting.resilience
            found["langchain", name] = CascadeChatModel(policy=policy, models=chat, resilience=cc.Resilience(**given))
            # With a time-out of the cascade's own, it would leave streams early itself: test_abandoned.py has more.
            unhurried = {key: value for key, value in given.items() if key != "timeout"}
            found["llama_index", name] = CascadeLLM(policy=policy, models=llms, resilience=cc.Resilience(**unhurried))
        yield found
