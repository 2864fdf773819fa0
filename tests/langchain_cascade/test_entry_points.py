"""Every way into a chat model is a way into the cascade: the same answer, the same arguments, the same config."""

import threading
from uuid import UUID

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import BaseModel

import cascade_components as cc

from .doubles import ChatScripted, policy
from .ways import ASYNC, EVERY, RUNNABLES, SYNC, ask, collected, events_of

CASES = {"ungated": None, "accepted": 0.9, "escalated": 0.1}
in_each_case = pytest.mark.parametrize("case", CASES)
in_every_way = pytest.mark.parametrize("way", EVERY)
as_a_runnable = pytest.mark.parametrize("way", RUNNABLES)


def path_of(case):
    return ["small", "large"] if case == "escalated" else ["small"]


def check(message, case):
    path = path_of(case)
    trace = message.response_metadata["cascade"]
    assert message.text == f"{path[-1]} says so"
    assert message.response_metadata["model_name"] == path[-1]
    assert trace["path"] == path
    assert trace["escalated"] is (case == "escalated")
    assert [one["model"] for one in trace["passes"]] == path
    assert message.usage_metadata["total_tokens"] == 15 * len(path)
    if case == "escalated":
        assert "small says so" not in repr(message)


@in_each_case
@pytest.mark.parametrize("way", SYNC)
def test_without_a_running_event_loop(make, case, way):
    check(SYNC[way](make(CASES[case]), "Hello", None), case)


@in_each_case
@in_every_way
async def test_in_a_running_event_loop(make, case, way):
    check(await ask(way, make(CASES[case])), case)


@in_each_case
@in_every_way
async def test_each_pass_is_counted_once(make, case, way):
    with get_usage_metadata_callback() as usage:
        await ask(way, make(CASES[case]))
    assert {name: one["total_tokens"] for name, one in usage.usage_metadata.items()} == dict.fromkeys(path_of(case), 15)


@pytest.mark.filterwarnings("ignore:The method `BaseChatModel.*chat_model_stream_v3` is in beta")
@in_each_case
@in_every_way
async def test_call_arguments_reach_the_wrapped_model_as_a_plain_one(make, case, way):
    given = {"stop": ["END"], "seed": 3, "model": "another", "logit_bias": {"1": 2}}
    plain, cascade = ChatScripted(model_name="plain"), make(CASES[case])
    for model in (plain, cascade):
        await ask(way, model, **given)
    (expected,) = plain.calls
    assert given.items() <= expected.items()
    for name in path_of(case):
        assert cascade.models[name].calls == [expected]


@in_each_case
@in_every_way
async def test_the_config_names_and_marks_the_runs(make, runs, case, way):
    run_id = UUID(int=7)
    config = {"callbacks": [runs], "tags": ["t"], "metadata": {"team": "a"}, "run_name": "mine", "run_id": run_id}
    check(await ask(way, make(CASES[case], callbacks=[runs]), config=config), case)
    assert runs.of("chain") == [run_id]
    assert (runs.parents[run_id], runs.names[run_id]) == (None, "mine")
    models = runs.of("model")
    assert [runs.parents[model] for model in models] == [run_id] * len(path_of(case))
    assert [runs.metadata[model]["cascade_model"] for model in models] == path_of(case)
    for run in (run_id, *models):
        assert "t" in runs.tags[run]
        assert runs.metadata[run]["team"] == "a"
    check(runs.ends[run_id], case)


@as_a_runnable
async def test_the_config_has_the_cascades_settings_and_everybody_elses(make, way):
    model = make(0.9)
    model.models["large"] = model.models["large"].configurable_fields(reply=ConfigurableField("word"))
    config = {"configurable": {"thread_id": "1", "word": "configured", "cascade": {"model": "large"}}}
    message = await ask(way, model, config=config)
    assert (message.text, message.response_metadata["cascade"]["path"]) == ("configured", ["large"])
    assert config["configurable"]["cascade"] == {"model": "large"}


@as_a_runnable
async def test_a_misspelt_setting_is_an_error(make, way):
    with pytest.raises(ValueError, match="unknown: modell"):
        await ask(way, make(), config={"configurable": {"cascade": {"modell": "large"}}})


@in_every_way
async def test_if_all_fail_every_way_raises_one_error(make, way):
    with pytest.raises(cc.AllModelsFailed) as failure:
        await ask(way, make(small=TimeoutError("slow"), large=OSError("down")))
    assert [str(error) for error in failure.value.exceptions] == ["slow", "down"]


def test_the_hook_of_the_base_class_answers_too(make):
    message = make(0.1)._generate([HumanMessage("Hello")]).generations[0].message
    check(message, "escalated")


class Person(BaseModel):
    name: str


@in_each_case
@pytest.mark.parametrize("way", [way for way in RUNNABLES if "events" not in way])
@pytest.mark.parametrize("weak", [False, True])
async def test_structured_output_in_every_way(make, runs, case, way, weak):
    model = make(CASES[case], small={"arguments": {} if weak else None})
    parser = model.with_structured_output(Person)
    found = await ask(way, parser, "Ada", {"callbacks": [runs], "metadata": {"team": "a"}}, stop=["END"])
    assert found == Person(name="Ada")
    asked = [runs.metadata[run]["cascade_model"] for run in runs.of("model")]
    assert asked == (["small", "large"] if weak else ["small"])
    assert all(runs.metadata[run]["team"] == "a" for run in runs.of("model"))
    assert all(model.models[name].calls[0]["stop"] == ["END"] for name in asked)


QUESTIONS = [f"question {number}" for number in range(6)]

BATCHES = ["batch", "batch_as_completed", "abatch", "abatch_as_completed"]


async def batch_of(how, model, questions=QUESTIONS, config=None, **kwargs):
    """Answers in the order of the questions."""
    given = getattr(model, how)(questions, config, **kwargs)
    if not how.endswith("as_completed"):
        return await given if how in ASYNC else given
    found = dict(await collected(given) if how in ASYNC else given)
    return [found[number] for number in range(len(questions))]


def echo(messages):
    return f"{messages[-1].text}!"


@in_each_case
@pytest.mark.parametrize("how", BATCHES)
async def test_a_batch_is_in_order_and_hands_its_arguments_on(make, case, how):
    model = make(CASES[case], small=echo, large=echo)
    configs = [{"configurable": {"cascade": {"model": "large"}}} if number == 1 else {} for number in range(6)]
    found = await batch_of(how, model, config=configs, stop=["END"])
    assert [message.text for message in found] == [f"{question}!" for question in QUESTIONS]
    paths = [message.response_metadata["cascade"]["path"] for message in found]
    assert paths == [["large"] if number == 1 else path_of(case) for number in range(6)]
    assert all(call["stop"] == ["END"] for wrapped in model.models.values() for call in wrapped.calls)


@pytest.mark.parametrize("how", BATCHES)
async def test_a_batch_keeps_to_its_max_concurrency(make, how):
    two, lock = threading.Barrier(2), threading.Lock()
    running, most = 0, 0

    def reply(messages):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        two.wait(timeout=10)  # fails unless two run at the same time
        with lock:
            running -= 1
        return "done"

    found = await batch_of(how, make(small=reply), config={"max_concurrency": 2})
    assert [message.text for message in found] == ["done"] * 6
    assert most == 2


@pytest.mark.parametrize("how", BATCHES)
async def test_a_batch_returns_errors_where_asked_to(make, how):
    def reply(messages):
        return OSError("down") if messages[-1].text.endswith("2") else "fine"

    model = make(small=reply, large=reply)
    found = await batch_of(how, model, return_exceptions=True)
    assert isinstance(found[2], cc.AllModelsFailed)
    assert [one.text for number, one in enumerate(found) if number != 2] == ["fine"] * 5
    with pytest.raises(cc.AllModelsFailed):
        await batch_of(how, model)


@pytest.mark.parametrize("how", BATCHES)
async def test_an_empty_batch_asks_nobody(make, how):
    model = make()
    assert await batch_of(how, model, questions=[]) == []
    assert model.models["small"].calls == []


TOKENS = {"ungated": ["small", " says", " so"], "accepted": [], "escalated": ["large", " says", " so"]}


def chain_of(model, how):
    """The model alone, or in a chain's step that calls it in one way, in the same thread or not."""
    if how == "itself":
        return model
    if how in ASYNC:

        async def step(question):
            return await ASYNC[how](model, question, None)

        return RunnableLambda(step)
    return RunnableLambda(lambda question: SYNC[how](model, question, None))


@in_each_case
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("streaming", [{}, {"streaming": True}])
@pytest.mark.parametrize("bound", [{}, {"stop": ["END"]}])
@pytest.mark.parametrize("how", ["itself", "invoke", "stream", "generate", "ainvoke", "astream", "agenerate"])
async def test_no_event_has_a_token_of_a_draft(make, case, version, streaming, bound, how):
    model = make(CASES[case], small=streaming, large=streaming, **bound)
    events = await events_of(chain_of(model, how), "Hello", version=version)
    streamed = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert [text for text in streamed if text] == TOKENS[case]
    starts = [event["metadata"]["cascade_model"] for event in events if event["event"] == "on_chat_model_start"]
    assert starts == path_of(case)
    ends = [event["data"]["output"] for event in events if event["event"] == "on_chat_model_end"]
    assert len(ends) == len(starts)


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
async def test_the_log_of_a_run_streams_no_draft(make):
    patches = await collected(make(0.1, small={"streaming": True}).astream_log("Hello"))
    streamed = [
        operation["value"]
        for patch in patches
        for operation in patch.ops
        if operation["path"].startswith("/logs/") and "/streamed_output" in operation["path"]
    ]
    assert "small says so" not in str(streamed)
    assert "large" in str(streamed)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model.bind(stop=["END"]),
        lambda model: model.with_config(tags=["t"]),
        lambda model: model.with_retry(stop_after_attempt=2),
        lambda model: model.with_fallbacks([ChatScripted(model_name="spare")]),
        lambda model: model.configurable_fields(temperature=ConfigurableField("heat")),
        lambda model: model.configurable_alternatives(ConfigurableField("which"), default_key="cascade"),
        lambda model: RunnableLambda(lambda question: question) | model,
    ],
)
@in_each_case
@pytest.mark.parametrize(
    "way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch", "transform", "atransform"]
)
async def test_it_can_be_wrapped_as_any_runnable(make, wrap, case, way):
    check(await ask(way, wrap(make(CASES[case]))), case)


@pytest.mark.parametrize(
    "question",
    [
        "Hello",
        [HumanMessage("Hello")],
        [("human", "Hello")],
        [{"role": "user", "content": "Hello"}],
        StringPromptValue(text="Hello"),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
async def test_it_takes_what_a_chat_model_takes(make, question, way):
    found = policy(0.9)
    check(await ask(way, make(of=found), question), "accepted")
    assert found.asked == ["Hello"]
