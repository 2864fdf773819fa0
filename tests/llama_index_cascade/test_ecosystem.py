"""Applications do with a cascade what they do with an LLM: query engines, chat engines, agents, evaluators."""

import json
import re

import llama_index.core
import pytest
from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import AgentOutput, AgentStream, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.llms import MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import TextNode
from llama_index.llms.openai import OpenAI

from llama_index.llms.cascade import CascadeLLM
from tests.openai_server import Reply, structured

from .contract import CLOCK, WEATHER, Report
from .doubles import ScriptedLLM, policy, pool

DRAFT = "a draft for nobody's eyes"
QUESTION = "Is it raining in Oslo?"
NODES = [TextNode(text=f"It rains in {city}.") for city in ("Oslo", "Rome", "Lima")]
CASES = {"ungated": None, "accepted": 0.9, "escalated": 0.1}
cases = pytest.mark.parametrize("case", CASES)

# LlamaIndex's agents use what Pydantic and its own workflows will take away.
agents = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """Words for tokens: LlamaIndex's own tokenizer may want to fetch its vocabulary."""
    monkeypatch.setattr(llama_index.core, "global_tokenizer", str.split)


class KeepsLines(ScriptedLLM):
    """Streams texts whose lines matter."""

    def _parts(self, messages, kwargs):
        message, text = self._message(messages, kwargs), ""
        for word in re.findall(r"\s*\S+", message.content or ""):
            text += word
            yield ChatResponse(message=ChatMessage(text, role=MessageRole.ASSISTANT), raw={}, delta=word)
        yield self._response(message, messages, kwargs, delta="")


def plain(reply="Yes, it rains.", *, of=ScriptedLLM, **fields):
    return of(model_name="plain", reply=reply, **fields)


def cascade(case, reply="Yes, it rains.", *, draft=DRAFT, of=ScriptedLLM, **fields):
    """A cascade whose answers are those of `plain`."""
    replies = {"small": draft if case == "escalated" else reply, "large": reply if case == "escalated" else draft}
    models = {name: of(model_name=name, reply=one, **fields) for name, one in replies.items()}
    return CascadeLLM(policy=policy(CASES[case]), models=models)


def check_asked(llm, case):
    """Nobody was asked but who had to be."""
    asked = {name for name, model in llm.models.items() if model.calls}
    assert asked == ({"small", "large"} if case == "escalated" else {"small"})


# — query engines —


@pytest.fixture
def index():
    return VectorStoreIndex(NODES, embed_model=MockEmbedding(embed_dim=4))


async def answers(engine):
    """What a query engine says, sync and async: text, sources, class."""
    found = []
    for response in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        if hasattr(response, "async_response_gen"):
            text = "".join([token async for token in response.async_response_gen()])
        elif hasattr(response, "response_gen"):
            text = "".join(response.response_gen)
        else:
            text = response.response
        found.append((type(response).__name__, text, [node.text for node in response.source_nodes]))
    return found


@cases
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize"])
async def test_a_query_engine_answers_as_with_a_plain_llm(index, case, streaming, mode):
    llm = cascade(case)
    given = {"response_mode": mode, "streaming": streaming, "similarity_top_k": 3}
    found = await answers(index.as_query_engine(llm=llm, **given))
    assert found == await answers(index.as_query_engine(llm=plain(), **given))
    assert DRAFT not in str(found)
    check_asked(llm, case)


@cases
async def test_a_structured_query_engine_answers_as_with_a_plain_llm(index, case):
    draft = {"arguments": {"city": "Oslo"}}
    models = pool(**({"small": draft} if case == "escalated" else {}))
    llm = CascadeLLM(policy=policy(CASES[case]), models=models)
    engines = [index.as_query_engine(llm=one, output_cls=Report) for one in (llm, plain())]
    found, expected = [
        [engine.query(QUESTION).response, (await engine.aquery(QUESTION)).response] for engine in engines
    ]
    assert found == expected
    assert isinstance(found[0], Report)
    check_asked(llm, case)


# — chat engines —


def chat_engines(llm, index, mode):
    memory = ChatMemoryBuffer.from_defaults(token_limit=3000)
    if mode == "simple":
        return SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Be brief.")
    return index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory, similarity_top_k=1)


async def conversation(engine):
    """Four turns, each in another way; then the history."""
    texts = [engine.chat(QUESTION).response, (await engine.achat(QUESTION)).response]
    texts.append("".join(engine.stream_chat(QUESTION).response_gen))
    streamed = await engine.astream_chat(QUESTION)
    texts.append("".join([token async for token in streamed.async_response_gen()]))
    return texts, [(message.role, message.content) for message in engine.chat_history]


@cases
@pytest.mark.parametrize("mode", ["simple", "context", "condense_plus_context", "condense_question"])
async def test_a_chat_engine_talks_as_with_a_plain_llm(index, case, mode):
    llm = cascade(case)
    found = await conversation(chat_engines(llm, index, mode))
    assert found == await conversation(chat_engines(plain(), index, mode))
    assert DRAFT not in str(found)
    check_asked(llm, case)


def test_a_chat_engine_keeps_its_llm_where_the_cascade_is_asked_to():
    llm = CascadeLLM(policy=policy(0.1), models=pool(), sticky="thread")
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=3000))
    assert engine.chat("Hello").response == "large says so"
    llm.policy = policy()
    assert engine.chat("And?").response == "large says so"


# — agents —


def two_calls(messages):
    """Calls one tool, then the other, then answers."""
    made = sum(message.role == MessageRole.TOOL for message in messages)
    if made == 2:
        return ChatMessage("Rain at noon.", role=MessageRole.ASSISTANT)
    name = ("weather", "clock")[made]
    block = ToolCallBlock(tool_call_id=f"call_{made}", tool_name=name, tool_kwargs={"city": "Oslo"})
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


def bad_call(messages):
    block = ToolCallBlock(tool_call_id="call_x", tool_name="no_such_tool", tool_kwargs={})
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


def two_steps(messages):
    """The same in ReAct's words."""
    made = sum((message.content or "").startswith("Observation:") for message in messages)
    if made == 2:
        return "Thought: I know.\nAnswer: Rain at noon."
    return f'Thought: I ask.\nAction: {("weather", "clock")[made]}\nAction Input: {{"city": "Oslo"}}'


AGENTS = {
    FunctionAgent: ({"reply": two_calls, "calls_tools": False}, {"draft": bad_call}),
    ReActAgent: ({"reply": two_steps, "of": KeepsLines}, {"draft": f"Thought: I know.\nAnswer: {DRAFT}"}),
}


async def run(agent):
    """What an agent's run shows, and its outcome."""
    handler = agent.run("How is Oslo?")
    events = [event async for event in handler.stream_events()]
    return events, await handler


@agents
@cases
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", AGENTS)
async def test_an_agent_calls_its_tools_as_with_a_plain_llm(kind, case, streaming):
    fields, draft = AGENTS[kind]
    outcomes = []
    for llm in (cascade(case, **fields, **draft), plain(**fields)):
        events, result = await run(kind(tools=[WEATHER, CLOCK], llm=llm, streaming=streaming))
        called = [(event.tool_name, event.tool_kwargs) for event in events if isinstance(event, ToolCallResult)]
        steps = [event.response.content for event in events if isinstance(event, AgentOutput)]
        outcomes.append((called, steps, result.response.content))
        shown = [event for event in events if isinstance(event, AgentStream)]
        assert bool(shown) is streaming
        for trace in (DRAFT, "no_such_tool"):
            assert trace not in repr(events)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == [("weather", {"city": "Oslo"}), ("clock", {"city": "Oslo"})]
    assert outcomes[0][2] == "Rain at noon."


@agents
@cases
@pytest.mark.parametrize("kind", AGENTS)
async def test_the_streamed_words_of_an_agent_make_its_steps(kind, case):
    fields, draft = AGENTS[kind]
    events, _ = await run(kind(tools=[WEATHER, CLOCK], llm=cascade(case, **fields, **draft)))
    words, steps = "", []
    for event in events:
        if isinstance(event, AgentStream):
            words += event.delta
            assert event.response == words
        elif isinstance(event, AgentOutput):
            steps.append((words, event.response.content or ""))
            words = ""
    assert len(steps) == 3
    assert all(streamed.endswith(said) for streamed, said in steps)  # ReAct strips its thoughts


# — settings, evaluators —


@pytest.fixture
def settings(monkeypatch):
    """LlamaIndex's global settings, as new."""
    for name in vars(Settings):
        monkeypatch.setattr(Settings, name, None)
    return Settings


@cases
@pytest.mark.parametrize("first", ["llm", "callback_manager"])
async def test_the_llm_of_the_settings_is_counted_once_a_call(settings, case, first):
    counter, llm = TokenCountingHandler(tokenizer=str.split), cascade(case)
    given = {"llm": llm, "callback_manager": CallbackManager([counter]), "embed_model": MockEmbedding(embed_dim=4)}
    for name in sorted(given, key=lambda one: one != first):
        setattr(settings, name, given[name])
    index = VectorStoreIndex(NODES)
    for streaming in (False, True):
        for mode in ("compact", "refine"):
            await answers(index.as_query_engine(response_mode=mode, streaming=streaming, similarity_top_k=2))
    made = sum(len(model.calls) for model in llm.models.values())
    assert made == (24 if case == "escalated" else 12)
    assert len(counter.llm_token_counts) == made
    tokens = [(count.prompt_token_count, count.completion_token_count) for count in counter.llm_token_counts]
    assert all(prompt > 0 and completion == 5 for prompt, completion in tokens)


@cases
async def test_an_evaluator_judges_as_with_a_plain_llm(index, settings, case):
    settings.llm = plain()
    results = []
    for llm in (cascade(case, "YES", draft="NO"), plain("YES")):
        evaluator = FaithfulnessEvaluator(llm=llm)
        given = {"response": "It rains.", "contexts": [NODES[0].text]}
        results += [evaluator.evaluate(**given), await evaluator.aevaluate(**given)]
    assert {(result.passing, result.score, result.feedback) for result in results} == {(True, 1.0, "YES")}


# — over HTTP —

NAMES = {"small": "gpt-4o-mini", "large": "gpt-4o"}


def served(server, probability=None, **fields):
    given = {"api_base": server.url, "api_key": "none", "max_retries": 0, **fields}
    models = {name: OpenAI(model=model, **given) for name, model in NAMES.items()}
    return CascadeLLM(policy=policy(probability), models=models)


@pytest.mark.enable_socket
@cases
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_query_engine_answers_over_http(server, index, case, streaming):
    server.replies = {"gpt-4o-mini": Reply(DRAFT if case == "escalated" else "It rains all day.")}
    server.replies["gpt-4o"] = Reply("It rains all day.")
    usage = {"additional_kwargs": {"stream_options": {"include_usage": True}}} if streaming else {}
    llm = served(server, CASES[case], **usage)
    found = await answers(index.as_query_engine(llm=llm, streaming=streaming))
    assert [text for _, text, _ in found] == ["It rains all day."] * 2
    assert {body["model"] for body in server.bodies} == set(list(NAMES.values())[: 2 if case == "escalated" else 1])


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", ["chat", "stream_chat"])
def test_usage_cost_and_the_end_of_an_answer_come_over_http(server, way):
    server.replies = {"gpt-4o-mini": Reply("It rains all", finish="length")}
    usage = {"additional_kwargs": {"stream_options": {"include_usage": True}}} if way == "stream_chat" else {}
    found = getattr(served(server, **usage), way)([ChatMessage(QUESTION)])
    last = list(found)[-1] if way == "stream_chat" else found
    trace = last.additional_kwargs["cascade"]
    assert trace["passes"][0]["usage"] == {"input_tokens": 7, "output_tokens": 3}
    assert trace["passes"][0]["cost_usd"] == pytest.approx(0.01)
    assert trace["failed_checks"] == ["truncated"]


@pytest.mark.enable_socket
@agents
@cases
async def test_an_agent_calls_its_tools_over_http(server, case):
    def two_calls_sent(body):
        made = sum(message["role"] == "tool" for message in body["messages"])
        return Reply("Rain at noon.") if made == 2 else Reply(calls=((("weather", "clock")[made], {"city": "Oslo"}),))

    bad = Reply(calls=(("weather", '{"city": "Os'),))
    server.replies = {"gpt-4o-mini": bad if case == "escalated" else two_calls_sent, "gpt-4o": two_calls_sent}
    events, result = await run(FunctionAgent(tools=[WEATHER, CLOCK], llm=served(server, CASES[case])))
    called = [(event.tool_name, event.tool_kwargs) for event in events if isinstance(event, ToolCallResult)]
    assert called == [("weather", {"city": "Oslo"}), ("clock", {"city": "Oslo"})]
    assert result.response.content == "Rain at noon."
    assert "'Os'" not in repr(events)
    for body in server.bodies:
        assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "clock"]
        assert all(set(message) <= {"role", "content", "tool_calls", "tool_call_id"} for message in body["messages"])


@pytest.mark.enable_socket
@cases
@pytest.mark.parametrize("way", ["structured_predict", "stream_structured_predict"])
def test_an_object_comes_over_http(server, case, way):
    report = {"city": "Oslo", "degrees": 3}
    bad, good = structured({"city": "Oslo", "degrees": "cold"}), structured(json.dumps(report))
    server.replies = {"gpt-4o-mini": bad if case == "escalated" else good, "gpt-4o": good}
    prompt = PromptTemplate("What is the weather in {city}?")
    found = getattr(served(server, CASES[case]), way)(Report, prompt, city="Oslo")
    assert (list(found)[-1] if way.startswith("stream") else found) == Report(**report)
