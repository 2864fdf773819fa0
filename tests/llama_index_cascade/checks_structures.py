"""Checks of structured output: structured prediction in four ways, and the structured LLM."""

import json

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MessageRole
from llama_index.core.prompts import PromptTemplate

from .contract import QUESTION, STRUCTURED, Contract, Report, ask, needs

PROMPT = PromptTemplate("What is the weather in {city}?")

predictions = pytest.mark.parametrize("way", STRUCTURED)
# LlamaIndex's structured LLM serialises partial objects by Pydantic's old method.
old_json = pytest.mark.filterwarnings("ignore:The `json` method is deprecated")


class StructureChecks(Contract):
    """Structured output."""

    @needs("has_structured_output")
    @predictions
    async def test_structured_prediction_gives_an_object(self, llm, way):
        """Structured prediction gives an object of the class; a stream ends with one."""
        found = (await ask(llm, way, Report, PROMPT, city="Oslo"))[-1]
        assert isinstance(found, Report)

    @needs("has_structured_output")
    async def test_every_way_gives_the_same_object(self, llm):
        """Synchronous, asynchronous, whole and streamed objects are the same."""
        first, *rest = [(await ask(llm, way, Report, PROMPT, city="Oslo"))[-1] for way in STRUCTURED]
        assert rest == [first] * 3

    @needs("has_structured_output", "shows_requests")
    @predictions
    async def test_structured_prediction_sends_the_filled_prompt(self, backend, way):
        """The variables of the prompt are replaced in the request."""
        await ask(backend.make(), way, Report, PROMPT, city="Oslo")
        assert backend.requests
        assert all(QUESTION in " ".join(request.texts) for request in backend.requests)

    @needs("has_structured_output", "shows_requests", "sends_tool_arguments")
    @predictions
    async def test_arguments_reach_the_model_with_a_structure(self, backend, way):
        """What `llm_kwargs` holds is in the request."""
        name, value = self.option
        await ask(backend.make(), way, Report, PROMPT, llm_kwargs={name: value}, city="Oslo")
        assert [request.options.get(name) for request in backend.requests] == [value] * self.calls_of(way)

    @needs("has_structured_output")
    @pytest.mark.parametrize("way", ["chat", "achat"])
    async def test_a_structured_llm_chats(self, llm, way):
        """A structured LLM gives the object as `raw` and its JSON as the text."""
        structured = llm.as_structured_llm(Report)
        (found,) = await ask(structured, way, [ChatMessage(QUESTION, role=MessageRole.USER)])
        assert isinstance(found.raw, Report)
        assert Report(**json.loads(found.message.content)) == found.raw

    @needs("has_structured_output")
    @pytest.mark.parametrize("way", ["complete", "acomplete"])
    async def test_a_structured_llm_completes(self, llm, way):
        """A structured LLM's completion is the object's JSON."""
        (found,) = await ask(llm.as_structured_llm(Report), way, QUESTION)
        assert isinstance(Report(**json.loads(found.text)), Report)

    @old_json
    @needs("has_structured_output")
    @pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
    async def test_a_structured_llm_streams(self, llm, way):
        """A structured LLM's stream ends with the object."""
        structured = llm.as_structured_llm(Report)
        found = await ask(structured, way, [ChatMessage(QUESTION, role=MessageRole.USER)])
        assert isinstance(found[-1].raw, Report)

    @needs("has_structured_output")
    def test_structured_prediction_works_without_an_event_loop(self, llm):
        """Nothing but Python is needed for a synchronous structured prediction."""
        assert isinstance(llm.structured_predict(Report, PROMPT, city="Oslo"), Report)
