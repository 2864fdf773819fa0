"""The conformance suite on the cascade, on each way an answer can take."""

import pytest

import cascade_components as cc
from llama_index.llms.cascade import CascadeLLM

from .backends import ScriptedBackend
from .conformance import LLMConformance
from .contract import CALLS, STRUCTURED, TOOL_CHATS, Behaviour
from .doubles import policy, pool

SECRET = "sk-nobody-may-see-this"


class CascadeBackend(ScriptedBackend):
    """A cascade of two scripted LLMs that behave alike."""

    def __init__(self, probability):
        super().__init__(SECRET)
        self.probability = probability

    def make(self, behaviour=Behaviour.ANSWERS, **fields):
        script = {"reply": "a fine answer", **self.fields(behaviour)}
        models = pool(small=script, large=script)
        self.llms += models.values()
        return CascadeLLM(policy=policy(self.probability), models=models, **fields)


class CascadeConformance(LLMConformance):
    probability = None
    text = "a fine answer"
    secret = SECRET
    supports_images = True
    error = (cc.AllModelsFailed, ConnectionError)
    """All models fail alike; of a stream that breaks after its first words, the model's own error."""
    empty_messages = ValueError

    def rebuilt(self, llm):
        return type(llm).from_dict(llm.to_dict(), policy=llm.policy, models=llm.models)

    @pytest.fixture
    def backend(self):
        return CascadeBackend(self.probability)


class TestUngated(CascadeConformance):
    pass


class TestAccepted(CascadeConformance):
    probability = 0.9
    streams_in_chunks = False
    """The answer is held until it is judged."""


class TestEscalated(CascadeConformance):
    probability = 0.1

    def calls_of(self, way):
        """A text is rejected, and asked for twice; tool calls that fit stand."""
        return 1 if way in (*CALLS, *TOOL_CHATS, *STRUCTURED) else 2
