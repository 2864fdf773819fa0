"""Checks of what an LLM answers: chat, completion, prediction, each in four ways."""

import asyncio
import copy

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, ImageBlock, TextBlock
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import BaseOutputParser

from .contract import CHATS, COMPLETIONS, CONCURRENCY, PREDICTIONS, QUESTION, Behaviour, Contract, ask, needs, text_of

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
PROMPT = PromptTemplate("What is the weather in {city}?")
CONVERSATION = (
    ChatMessage("You are terse.", role=MessageRole.SYSTEM),
    ChatMessage("Is it cold in Rome?", role=MessageRole.USER),
    ChatMessage("No.", role=MessageRole.ASSISTANT),
    ChatMessage(QUESTION, role=MessageRole.USER),
)

chats = pytest.mark.parametrize("way", CHATS)
completions = pytest.mark.parametrize("way", COMPLETIONS)
predictions = pytest.mark.parametrize("way", PREDICTIONS)
streams = pytest.mark.parametrize("way", [way for way in (*CHATS, *COMPLETIONS) if "stream" in way])
every_way = pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS])


class Shouting(BaseOutputParser):
    """Wants shouting, and shouts."""

    def parse(self, output):
        return output.upper()

    def format(self, query):
        return f"{query} Shout."


def question(way):
    """What is asked that way."""
    return QUESTION if "complete" in way else [ChatMessage(QUESTION, role=MessageRole.USER)]


class AnswerChecks(Contract):
    """Chat, completion, prediction."""

    @chats
    async def test_chat_gives_the_answer_of_the_assistant(self, llm, way):
        """Each way of chatting gives chat responses of the assistant, the last with the whole answer."""
        found = await ask(llm, way, question(way))
        assert all(isinstance(one, ChatResponse) for one in found)
        assert {one.message.role for one in found} == {MessageRole.ASSISTANT}
        self.check_text(found[-1].message.content)

    @completions
    async def test_completion_gives_the_answer(self, llm, way):
        """Each way of completing gives completion responses, the last with the whole answer."""
        found = await ask(llm, way, QUESTION)
        assert all(isinstance(one, CompletionResponse) for one in found)
        self.check_text(found[-1].text, prompt=True)

    @pytest.mark.parametrize("ways", [CHATS, COMPLETIONS])
    async def test_every_way_gives_the_same_text(self, llm, ways):
        """Synchronous, asynchronous, whole and streamed answers to one question are the same."""
        assert len({text_of((await ask(llm, way, question(way)))[-1]) for way in ways}) == 1

    @streams
    async def test_the_deltas_of_a_stream_add_up(self, llm, way):
        """The deltas of a stream make the text of its last response."""
        found = await ask(llm, way, question(way))
        assert "".join(one.delta or "" for one in found) == text_of(found[-1])

    @needs("streams_accumulate")
    @streams
    async def test_a_stream_accumulates(self, llm, way):
        """Each response of a stream holds the text of the deltas so far."""
        text = ""
        for one in await ask(llm, way, question(way)):
            text += one.delta or ""
            assert text_of(one) == text

    @needs("streams_in_chunks")
    @streams
    async def test_a_stream_comes_in_chunks(self, llm, way):
        """An answer of several words comes in several deltas."""
        assert len([one for one in await ask(llm, way, question(way)) if one.delta]) > 1

    @streams
    async def test_the_responses_of_a_stream_are_independent(self, llm, way):
        """A response that was kept does not change when the stream goes on."""
        kept, seen = [], []
        found = getattr(llm, way)(question(way))
        if way.startswith("a"):
            async for one in await found:
                kept, seen = [*kept, one], [*seen, text_of(one)]
        else:
            for one in found:
                kept, seen = [*kept, one], [*seen, text_of(one)]
        assert [text_of(one) for one in kept] == seen

    def test_synchronous_ways_work_without_an_event_loop(self, llm):
        """Nothing but Python is needed for a synchronous call."""
        self.check_text(llm.chat(question("chat")).message.content)
        self.check_text(llm.complete(QUESTION).text, prompt=True)
        self.check_text(list(llm.stream_chat(question("chat")))[-1].message.content)

    async def _check_argument(self, backend, way):
        name, value = self.option
        await ask(backend.make(), way, question(way), **{name: value})
        assert [request.options.get(name) for request in backend.requests] == [value] * self.calls_of(way)

    @needs("shows_requests")
    @chats
    async def test_arguments_of_a_chat_reach_the_model(self, backend, way):
        """A keyword argument of a chat is in the request."""
        await self._check_argument(backend, way)

    @needs("shows_requests", "sends_prompts")
    @completions
    async def test_arguments_of_a_completion_reach_the_model(self, backend, way):
        """A keyword argument of a completion is in the request."""
        await self._check_argument(backend, way)

    @needs("shows_requests")
    @chats
    async def test_a_conversation_reaches_the_model(self, backend, way):
        """System message, earlier turns and the question are in the request, in order."""
        found = await ask(backend.make(), way, list(CONVERSATION))
        self.check_text(found[-1].message.content)
        sent = {(request.roles, request.texts) for request in backend.requests}
        assert sent == {(("system", "user", "assistant", "user"), tuple(one.content for one in CONVERSATION))}

    @chats
    async def test_messages_stay_as_they_are(self, llm, way):
        """A call changes neither the list of messages nor a message."""
        given = copy.deepcopy(list(CONVERSATION))
        await ask(llm, way, given)
        assert given == list(CONVERSATION)

    async def test_the_question_may_be_given_by_name(self, llm):
        """Messages and prompt are keyword arguments, too, and a prompt may be called formatted."""
        self.check_text(llm.chat(messages=question("chat")).message.content)
        self.check_text((await llm.achat(messages=question("achat"))).message.content)
        self.check_text(llm.complete(prompt=QUESTION, formatted=True).text, prompt=True)
        self.check_text((await llm.acomplete(prompt=QUESTION, formatted=True)).text, prompt=True)

    @chats
    async def test_messages_may_be_any_sequence(self, llm, way):
        """A tuple of messages is as good as a list."""
        self.check_text((await ask(llm, way, CONVERSATION))[-1].message.content)

    @chats
    async def test_no_messages(self, llm, way):
        """An empty list of messages is sent, or is the error that is documented."""
        if self.empty_messages:
            with pytest.raises(self.empty_messages):
                await ask(llm, way, [])
        else:
            assert (await ask(llm, way, []))[-1].message.role == MessageRole.ASSISTANT

    @needs("supports_images")
    @chats
    async def test_images_reach_the_model(self, backend, way):
        """A message of text and image is answered, and the image is in the request."""
        blocks = [TextBlock(text=QUESTION), ImageBlock(image=PNG.encode(), image_mimetype="image/png")]
        found = await ask(backend.make(), way, [ChatMessage(role=MessageRole.USER, blocks=blocks)])
        self.check_text(found[-1].message.content)
        if self.shows_requests:
            assert {request.images for request in backend.requests} == {1}

    @predictions
    async def test_prediction_gives_the_text(self, llm, way):
        """Prediction fills the prompt in and gives the text, or its tokens."""
        found = await ask(llm, way, PROMPT, city="Oslo")
        assert all(isinstance(one, str) for one in found)
        self.check_text("".join(found), prompt=not self.is_chat_model)

    @needs("shows_requests")
    @predictions
    async def test_prediction_sends_the_filled_prompt(self, backend, way):
        """The variables of a prompt are replaced in the request."""
        await ask(backend.make(), way, PROMPT, city="Oslo")
        assert backend.requests
        assert all(QUESTION in request.texts[-1] for request in backend.requests)

    @needs("shows_requests")
    @predictions
    async def test_prediction_sends_the_system_prompt(self, backend, way):
        """The LLM's system prompt comes before the question."""
        await ask(backend.make(system_prompt="Be brief."), way, PROMPT, city="Oslo")
        assert backend.requests
        assert all("Be brief." in request.texts[0] for request in backend.requests)

    @needs("shows_requests")
    async def test_prediction_takes_chat_prompts(self, backend):
        """A chat prompt's messages keep their roles in the request."""
        prompt = ChatPromptTemplate.from_messages([("system", "You are terse."), ("user", "Is it cold in {city}?")])
        self.check_text(backend.make().predict(prompt, city="Rome"), prompt=not self.is_chat_model)
        assert backend.requests
        assert all("Is it cold in Rome?" in request.texts[-1] for request in backend.requests)
        if self.is_chat_model:
            assert {request.roles for request in backend.requests} == {("system", "user")}

    @pytest.mark.parametrize("way", ["predict", "apredict"])
    async def test_prediction_applies_the_output_parser(self, backend, way):
        """The output parser sees the text of a prediction."""
        (found,) = await ask(backend.make(output_parser=Shouting()), way, PROMPT, city="Oslo")
        (plain,) = await ask(backend.make(), way, PROMPT, city="Oslo")
        assert found in (plain.upper(), f"{plain} Shout.".upper())

    @needs("reports_usage")
    @every_way
    async def test_usage_is_reported(self, llm, way):
        """The last response tells the tokens, where `TokenCountingHandler` looks for them and beside the text."""
        last = (await ask(llm, way, question(way)))[-1]
        prompt_tokens, completion_tokens = get_tokens_from_response(last)
        assert prompt_tokens > 0
        assert completion_tokens > 0
        assert last.additional_kwargs["prompt_tokens"] == prompt_tokens
        assert last.additional_kwargs["total_tokens"] == prompt_tokens + completion_tokens

    @needs("can_fail", "sends_prompts")
    @every_way
    async def test_an_error_reaches_the_caller(self, backend, way):
        """What the model raises is raised by the call, or by its stream."""
        with pytest.raises(self.error):
            await ask(backend.make(Behaviour.FAILS), way, question(way))

    @needs("can_fail", "streams_in_chunks")
    @streams
    async def test_an_error_within_a_stream_reaches_the_caller(self, backend, way):
        """What the model raises after the first words is raised by the stream."""
        with pytest.raises(self.error):
            await ask(backend.make(Behaviour.BREAKS), way, question(way))

    @needs("true_async")
    @pytest.mark.parametrize("way", ["achat", "acomplete", "astream_chat", "astream_complete"])
    async def test_many_calls_are_in_flight_at_once(self, backend, way):
        """Asynchronous calls wait side by side: fifty of them are in flight at once."""
        llm = backend.make(Behaviour.WAITS)
        found = await asyncio.gather(*(ask(llm, way, question(way)) for _ in range(CONCURRENCY)))
        assert len({text_of(one[-1]) for one in found}) == 1
        assert backend.peak == CONCURRENCY

    @pytest.mark.parametrize("way", ["chat", "complete"])
    async def test_threads_may_share_it(self, llm, way):
        """Synchronous calls from several threads get their answers."""
        found = await asyncio.gather(*(asyncio.to_thread(getattr(llm, way), question(way)) for _ in range(8)))
        for one in found:
            self.check_text(text_of(one), prompt=way == "complete")

    async def test_a_chat_engine_runs_on_it(self, llm):
        """A simple chat engine holds a conversation of four turns, each in another way."""
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=1000))
        texts = [engine.chat(QUESTION).response, (await engine.achat(QUESTION)).response]
        texts.append("".join(engine.stream_chat(QUESTION).response_gen))
        streamed = await engine.astream_chat(QUESTION)
        texts.append("".join([token async for token in streamed.async_response_gen()]))
        assert len(engine.chat_history) == 8
        for text in texts:
            self.check_text(text)
