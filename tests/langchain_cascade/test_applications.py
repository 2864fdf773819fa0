"""Applications with a plain chat model, and with the cascade in its place: chains, agents, graphs."""

from types import SimpleNamespace

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from langchain_cascade import CascadeChatModel
from tests.openai_server import Reply

from .doubles import ChatScripted, policy
from .ways import collected

pytestmark = pytest.mark.enable_socket

ANSWER = "It rains in London."
DRAFT = "forbidden"
"""In every answer that is rejected, and in nothing that anybody may see."""


@tool
def home_of(person: str) -> str:
    """Tell the city that a person lives in."""
    return "London"


@tool
def weather(city: str) -> str:
    """Tell a city's weather."""
    return "rain"


class Report(BaseModel):
    """What was found out."""

    city: str
    sky: str


STEPS = [("home_of", {"person": "Ada"}), ("weather", {"city": "London"})]
REPORT = {"city": "London", "sky": "rain"}


def good(results, asked_for):
    """The next step of somebody who has seen so many results: a tool call, at last the answer."""
    if results < len(STEPS):
        return STEPS[results]
    return ("Report", REPORT) if "Report" in asked_for else ANSWER


def weak_at_the_end(results, asked_for):
    found = good(results, asked_for)
    if isinstance(found, str):
        return f"{DRAFT} words"
    return (found[0], {"city": DRAFT}) if found[0] == "Report" else found


def bad_call(results, asked_for):
    return f"{DRAFT}_tool", {"person": "Ada"}


def bad_arguments(results, asked_for):
    return "home_of", {DRAFT: "Ada"}


CASES = {
    "ungated": (None, good),
    "accepted": (0.9, good),
    "escalated": (0.1, weak_at_the_end),
    "bad call": (0.9, bad_call),
    "bad arguments": (None, bad_arguments),
}
in_each_case = pytest.mark.parametrize("case", CASES)


def scripted(name, script):
    """The script as a chat model of this process."""

    class Model(ChatScripted):
        def _message(self, messages, kwargs):
            last = max(number for number, one in enumerate(messages) if isinstance(one, HumanMessage))
            results = sum(isinstance(one, ToolMessage) for one in messages[last:])
            step = script(results, [tool["function"]["name"] for tool in kwargs.get("tools") or ()])
            if isinstance(step, tuple):
                call = {"name": step[0], "args": step[1], "id": f"{name}_{len(messages)}", "type": "tool_call"}
                self.reply = AIMessage("", tool_calls=[call])
            else:
                self.reply = step
            return super()._message(messages, {**kwargs, "tools": None})

    return Model(model_name=name)


def served(server, name, script):
    """The script as a client of a model on the server."""

    def reply(body):
        roles = [message["role"] for message in body["messages"]]
        results = roles[::-1][: roles[::-1].index("user")].count("tool")
        step = script(results, [tool["function"]["name"] for tool in body.get("tools", ())])
        return Reply(calls=(step,)) if isinstance(step, tuple) else Reply(step)

    server.replies[name] = reply
    return server.client(name)


@pytest.fixture(params=["scripted", "http"])
def models(request):
    """Makes a plain model, and a cascade whose strongest model it is."""

    def one(name, script):
        if request.param == "scripted":
            return scripted(name, script)
        return served(request.getfixturevalue("server"), name, script)

    def models(probability, small, large=good, **kwargs):
        pool = {"small": one("small", small), "large": one("large", large)}
        cascade = CascadeChatModel(policy=policy(probability), models=pool, **kwargs)
        return SimpleNamespace(plain=pool["large"], cascade=cascade)

    return models


def shape(messages):
    """What a conversation looks like from outside, whoever spoke."""
    calls = [[(call["name"], call["args"]) for call in getattr(one, "tool_calls", [])] for one in messages]
    return [(type(one), one.text, called) for one, called in zip(messages, calls, strict=True)]


# — retrieval —


def answer_chain(model):
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([Document("Ada lives in London."), Document("It rains in London.")])
    prompt = ChatPromptTemplate.from_template("Answer from this:\n{context}\n\nQuestion: {question}")
    found = store.as_retriever(search_kwargs={"k": 2}) | (lambda docs: "\n".join(doc.page_content for doc in docs))
    return {"context": found, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


def right(results, asked_for):
    return ANSWER


def wrong(results, asked_for):
    return f"{DRAFT} words"


def is_held(model, probability):
    """Whether the answer comes whole: it was judged, and accepted."""
    return isinstance(model, CascadeChatModel) and probability == 0.9


@pytest.mark.parametrize(("probability", "small"), [(None, right), (0.9, right), (0.1, wrong)])
async def test_a_chain_that_retrieves(models, probability, small):
    made = models(probability, small, right, query=lambda messages: messages[-1].text.rpartition("Question: ")[2])
    question = "Where does it rain?"
    for model in (made.plain, made.cascade):
        chain = answer_chain(model)
        assert chain.invoke(question) == await chain.ainvoke(question) == ANSWER
        assert chain.batch([question] * 3) == await chain.abatch([question] * 3) == [ANSWER] * 3
        for pieces in (list(chain.stream(question)), await collected(chain.astream(question))):
            assert "".join(pieces) == ANSWER
            assert all(isinstance(piece, str) for piece in pieces)
            assert len([piece for piece in pieces if piece]) == (1 if is_held(model, probability) else 4)
        events = await collected(chain.astream_events(question, version="v2"))
        streamed = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
        assert "".join(streamed) == ("" if is_held(model, probability) else ANSWER)
    assert set(made.cascade.policy.asked) == {question}


# — agents —

THREAD = {"configurable": {"thread_id": "1"}}


def agent_of(model, **kwargs):
    return create_agent(model, tools=[home_of, weather], checkpointer=InMemorySaver(), **kwargs)


def asked(text):
    return {"messages": [HumanMessage(text)]}


@in_each_case
async def test_an_agent_that_calls_two_tools(models, runs, case):
    made = models(*CASES[case])
    expected = agent_of(made.plain).invoke(asked("Weather at Ada's?"), THREAD)
    assert [call for _, _, calls in shape(expected["messages"]) for call in calls] == STEPS
    agent, other = agent_of(made.cascade), agent_of(made.cascade)
    for found in (
        agent.invoke(asked("Weather at Ada's?"), {**THREAD, "callbacks": [runs]}),
        await other.ainvoke(asked("Weather at Ada's?"), THREAD),
    ):
        assert shape(found["messages"]) == shape(expected["messages"])
        assert found["messages"][-1].text == ANSWER
        ids = [message.id for message in found["messages"]]
        assert len(set(ids)) == len(ids)
        assert DRAFT not in repr(found)
    drafts = [runs.ends[run] for run in runs.of("model") if "cascade:draft" in runs.tags[run]]
    assert (DRAFT in repr(drafts)) is (CASES[case][1] is not good)

    again = await agent.ainvoke(asked("And again?"), THREAD)
    assert shape(again["messages"][len(expected["messages"]) + 1 :]) == shape(expected["messages"][1:])
    assert DRAFT not in repr(agent.get_state(THREAD)) + repr(list(agent.get_state_history(THREAD)))


MODES = ["values", "updates", "messages", ["messages", "updates", "values"]]


async def everything(graph, mode, how, **kwargs):
    given = (asked("Weather at Ada's?"), THREAD)
    if how == "astream":
        return await collected(graph.astream(*given, stream_mode=mode, **kwargs))
    return list(graph.stream(*given, stream_mode=mode, **kwargs))


def inside_a_graph(agent):
    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    return builder.compile(checkpointer=InMemorySaver())


@in_each_case
@pytest.mark.parametrize("how", ["stream", "astream"])
@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_no_stream_of_an_agent_shows_a_draft(models, case, how, mode):
    made = models(*CASES[case])
    for graph, kwargs in (
        (agent_of(made.cascade), {}),
        (inside_a_graph(create_agent(made.cascade, tools=[home_of, weather])), {"subgraphs": True}),
    ):
        parts = await everything(graph, mode, how, **kwargs)
        assert ANSWER in repr(parts) or mode == "messages"
        assert DRAFT not in repr(parts)


@in_each_case
@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_the_messages_of_an_agent_are_streamed_once(models, case, how):
    made = models(*CASES[case])
    streamed = {}
    for name in ("plain", "cascade"):
        graph = inside_a_graph(create_agent(getattr(made, name), tools=[home_of, weather]))
        parts = await everything(graph, "messages", how, subgraphs=True)
        whole = {}
        for _, (message, metadata) in parts:
            assert metadata["langgraph_node"] in ("model", "tools")
            whole[message.id] = whole[message.id] + message if message.id in whole else message
        state = graph.get_state(THREAD).values["messages"]
        assert list(whole) == [message.id for message in state[1:]]
        assert [message.text for message in whole.values()] == [message.text for message in state[1:]]
        calls = [[call["args"] for call in getattr(one, "tool_calls", [])] for one in whole.values()]
        assert calls == [[call["args"] for call in getattr(one, "tool_calls", [])] for one in state[1:]]
        streamed[name] = [(message.text, called) for message, called in zip(whole.values(), calls, strict=True)]
    assert streamed["cascade"] == streamed["plain"]


@in_each_case
async def test_no_event_of_an_agent_shows_a_drafts_tokens(models, case):
    agent = agent_of(models(*CASES[case]).cascade)
    events = await collected(agent.astream_events(asked("Weather at Ada's?"), THREAD, version="v2"))
    assert {event["event"] for event in events if DRAFT in repr(event)} <= {"on_chat_model_end"}
    of_drafts = [event["event"] for event in events if "cascade:draft" in event["tags"]]
    assert set(of_drafts) <= {"on_chat_model_start", "on_chat_model_end"}
    starts = [event["event"] for event in events].count("on_chat_model_start")
    assert starts == 3 + (CASES[case][1] is not good)  # two tool calls and an answer, and what was rejected


@pytest.mark.parametrize("case", ["ungated", "accepted", "escalated"])
@pytest.mark.parametrize("strategy", [ToolStrategy(Report), Report])
async def test_a_structured_response_by_a_tool(models, case, strategy):
    made = models(*CASES[case])
    expected = agent_of(made.plain, response_format=strategy).invoke(asked("Weather at Ada's?"), THREAD)
    agent, other = (agent_of(made.cascade, response_format=strategy) for _ in range(2))
    for found in (
        agent.invoke(asked("Weather at Ada's?"), THREAD),
        await other.ainvoke(asked("Weather at Ada's?"), THREAD),
    ):
        assert found["structured_response"] == expected["structured_response"] == Report(**REPORT)
        assert shape(found["messages"]) == shape(expected["messages"])
        assert DRAFT not in repr(found)


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
def test_a_structured_response_by_the_provider(server, probability):
    whole = Report(**REPORT).model_dump_json()
    server.replies.update(small=Reply(f'{{"city": "{DRAFT}"' if probability == 0.1 else whole), large=Reply(whole))
    models = {name: server.client(name) for name in ("small", "large")}
    cascade = CascadeChatModel(policy=policy(probability), models=models)
    found = [
        agent_of(model, response_format=ProviderStrategy(Report)).invoke(asked("Weather at Ada's?"), THREAD)
        for model in (models["large"], cascade)
    ]
    plain, ours = found
    assert ours["structured_response"] == plain["structured_response"] == Report(**REPORT)
    assert shape(ours["messages"]) == shape(plain["messages"])
    assert DRAFT not in repr(ours)
    requests = [{**body, "model": None, "stream": None} for body in server.bodies]
    assert all(request == requests[0] for request in requests)
