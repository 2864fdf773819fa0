"""What a caller of the cascade sees: the answer, how it came about, what it cost."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField

import cascade_components as cc
from langchain_cascade import CascadeChatModel

from .doubles import ChatScripted, ScriptedPolicy, policy, pool
from .ways import each_way


async def test_an_accepted_answer_is_the_weak_models_on_every_entry_point(make):
    for message in (await each_way(make(0.9))).values():
        assert message.text == "small says so"
        assert message.response_metadata["model_name"] == "small"
        trace = message.response_metadata["cascade"]
        assert (trace["model"], trace["path"], trace["escalated"], trace["scores"]) == (
            "small",
            ["small"],
            False,
            [0.9],
        )
        assert message.usage_metadata == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        assert trace["cost_usd"] == pytest.approx(0.015)


async def test_a_rejected_answer_is_replaced_and_paid_for_on_every_entry_point(make):
    for message in (await each_way(make(0.1))).values():
        assert message.text == "large says so"
        assert message.response_metadata["model_name"] == "large"
        trace = message.response_metadata["cascade"]
        assert trace["path"] == ["small", "large"]
        assert trace["escalated"] is True
        assert message.usage_metadata == {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
        assert trace["cost_usd"] == pytest.approx(0.165)
        assert [one["model"] for one in trace["passes"]] == ["small", "large"]
        assert trace["passes"][0]["usage"]["total_tokens"] == 15
        assert "small says so" not in str(message)


async def test_cost_and_usage_are_unknown_where_a_model_does_not_tell(make):
    message = make(0.1, small={"reports_usage": False}).invoke("Hello")
    assert message.response_metadata["cascade"]["cost_usd"] is None
    assert message.usage_metadata["total_tokens"] == 15

    message = make(policy_changes={"prices": {}}).invoke("Hello")
    assert message.response_metadata["cascade"]["cost_usd"] is None


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_usage_callbacks_see_each_call_once(make, probability):
    model = make(probability)
    expected = {"small"} if probability != 0.1 else {"small", "large"}
    with get_usage_metadata_callback() as usage:
        messages = await each_way(model)
    assert set(usage.usage_metadata) == expected
    for name in expected:
        assert usage.usage_metadata[name]["total_tokens"] == 15 * len(messages)


def test_one_chain_run_holds_the_runs_of_the_models(make, runs):
    make(0.1).invoke("Hello", {"callbacks": [runs], "run_name": "mine", "tags": ["t"]})
    (chain,) = runs.of("chain")
    assert runs.parents[chain] is None
    assert [runs.parents[model] for model in runs.of("model")] == [chain, chain]
    draft, final = (runs.tags[model] for model in runs.of("model"))
    assert {"nostream", "cascade:draft", "t"} <= set(draft)
    assert "cascade:draft" not in final
    assert runs.ends[chain].text == "large says so"


def test_the_models_own_callbacks_tags_and_metadata_reach_the_wrapped_models(make, runs):
    model = make(callbacks=[runs], tags=["mine"], metadata={"team": "a"}, name="ours")
    chain = ChatPromptTemplate.from_template("{x}") | model
    chain.invoke({"x": "Hello"}, {"callbacks": [runs]})
    (inner,) = runs.of("model")
    assert "mine" in runs.tags[inner]
    assert len(runs.ends) == 4  # the sequence, the prompt, the cascade, the model: each heard once


async def test_many_calls_at_once_do_not_mix(make):
    replies = {
        name: {"reply": lambda messages, name=name: f"{name}: {messages[-1].text}"} for name in ("small", "large")
    }
    model = make(lambda query: 0.9 if "easy" in query else 0.1, **replies)
    questions = [f"{'easy' if number % 2 else 'hard'} {number}" for number in range(50)]
    expected = [f"{'small' if number % 2 else 'large'}: {question}" for number, question in enumerate(questions)]
    found = await asyncio.gather(*(model.ainvoke(question) for question in questions))
    assert [message.text for message in found] == expected
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(model.invoke, questions))
    assert [message.text for message in found] == expected
    for number, message in enumerate(found):
        assert message.response_metadata["cascade"]["escalated"] is (number % 2 == 0)


def test_the_query_is_the_last_human_turn(make):
    found = policy(0.9)
    model = make(of=found)
    model.invoke([SystemMessage("Be brief."), HumanMessage("first"), AIMessage("yes"), HumanMessage("second")])
    assert found.asked == ["second"]


def test_the_query_is_what_the_extractor_takes(make):
    found = policy(0.9)
    make(of=found, query=lambda messages: messages[0].text).invoke([SystemMessage("topic"), HumanMessage("question")])
    assert found.asked == ["topic"]


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage([{"type": "image", "url": "https://example.com/cat.png"}])],
        [
            HumanMessage("Look."),
            AIMessage("At what?"),
            HumanMessage([{"type": "image", "url": "https://example.com/a"}]),
        ],
    ],
)
def test_without_text_to_route_the_strongest_is_asked(make, messages):
    trace = make(0.9).invoke(messages).response_metadata["cascade"]
    assert trace["path"] == ["large"]
    assert "no text to route" in trace["reason"]


@pytest.mark.parametrize("blank", ["", " \n ", []])
def test_nothing_at_all_is_an_error(make, blank):
    with pytest.raises(ValueError, match="nothing to answer"):
        make().invoke(blank)


def test_a_conversation_without_a_human_turn_is_an_error_that_names_the_remedy(make):
    messages = [SystemMessage("Be brief."), AIMessage("Hello.")]
    with pytest.raises(ValueError, match=r"no human message to route \(found: system, ai\).*query=.*configurable"):
        make(0.9).invoke(messages)
    assert make(0.9, query=lambda messages: messages[0].text).invoke(messages).text == "small says so"
    config = {"configurable": {"cascade": {"model": "large"}}}
    assert make(0.9).invoke(messages, config).text == "large says so"


def test_a_tool_loop_goes_on_where_the_human_turn_was_trimmed_away(make):
    assert make(0.9).invoke(tool_loop("large")[1:]).response_metadata["cascade"]["path"] == ["large"]


def tool_loop(model_name):
    call = {"name": "look_up", "args": {}, "id": "1", "type": "tool_call"}
    made = AIMessage("", tool_calls=[call], response_metadata={"cascade": {"model": model_name}})
    return [HumanMessage("Who won?"), made, ToolMessage("Ada", tool_call_id="1")]


@pytest.mark.parametrize(("made_by", "path"), [("large", ["large"]), ("small", ["small"]), ("gone", ["small"])])
def test_a_tool_loop_stays_with_its_model(make, made_by, path):
    assert make(0.9).invoke(tool_loop(made_by)).response_metadata["cascade"]["path"] == path


def test_a_tool_loop_leaves_its_model_for_a_weak_answer(make):
    trace = make(0.1).invoke(tool_loop("small")).response_metadata["cascade"]
    assert trace["path"] == ["small", "large"]


def test_a_failing_model_is_replaced(make):
    trace = make(small=TimeoutError("too slow")).invoke("Hello").response_metadata["cascade"]
    assert trace["path"] == ["small", "large"]
    assert trace["failures"] == [{"model": "small", "error": "TimeoutError"}]
    assert trace["escalated"] is False


async def test_if_all_fail_one_error_carries_every_cause(make, runs):
    model = make(small=TimeoutError("too slow"), large=ConnectionError("no route"))
    with pytest.raises(cc.AllModelsFailed) as failure:
        model.invoke("Hello", {"callbacks": [runs]})
    assert [type(error) for error in failure.value.exceptions] == [TimeoutError, ConnectionError]
    (chain,) = runs.of("chain")
    assert runs.ends[chain] is failure.value
    with pytest.raises(cc.AllModelsFailed):
        await model.ainvoke("Hello")


async def test_a_weak_answer_stands_if_the_escalation_fails(make):
    for message in (await each_way(make(0.1, large=ConnectionError("no route")))).values():
        assert message.text == "small says so"
        assert message.response_metadata["cascade"]["path"] == ["small", "large"]
        assert message.usage_metadata["total_tokens"] == 15


async def test_an_interrupt_is_no_failure_of_a_model(make):
    def interrupt(messages):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(small={"reply": interrupt}).invoke("Hello")


async def test_a_cancelled_call_asks_nobody_else():
    started = asyncio.Event()

    class Slow(ChatScripted):
        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            started.set()
            await asyncio.Event().wait()

    models = {**pool(), "small": Slow(model_name="small")}
    task = asyncio.create_task(CascadeChatModel(policy=policy(0.9), models=models).ainvoke("Hello"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert models["large"].calls == []


@pytest.mark.parametrize(
    ("small", "check"),
    [
        ({"reply": ""}, "empty"),
        ({"finish_reason": "length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "refused"),
    ],
)
def test_a_failed_check_is_a_weak_answer_even_ungated(make, small, check):
    trace = make(small=small).invoke("Hello").response_metadata["cascade"]
    assert trace["path"] == ["small", "large"]
    assert trace["failed_checks"] == [check]


def test_call_arguments_go_unchanged_to_the_wrapped_model(make):
    model = make(temperature=0.5, stop=["END"])
    model.invoke("Hello", model="another", seed=3)
    (call,) = model.models["small"].calls
    assert (call["model"], call["seed"], call["temperature"], call["stop"]) == ("another", 3, 0.5, ["END"])
    assert "max_tokens" not in call
    model.bind(stop=["STOP"]).invoke("Hello")
    assert model.models["small"].calls[-1]["stop"] == ["STOP"]


def test_an_llm_cache_works_on_the_wrapped_models(make):
    set_llm_cache(InMemoryCache())
    try:
        one, other = make(0.9), make(0.1)
        assert [one.invoke("Hello").text, one.invoke("Hello").text] == ["small says so"] * 2
        assert other.invoke("Hello").text == "large says so"
        assert len(one.models["small"].calls) == 1
    finally:
        set_llm_cache(None)


def test_wrapped_models_may_be_bound_configurable_and_guarded(runs):
    fields = {"model_name": ConfigurableField(id="which")}
    models = {
        "small": ChatScripted(model_name="s").configurable_fields(**fields).with_config(tags=["weak"]).bind(seed=7),
        "large": ChatScripted(model_name="l", reply=OSError("down"))
        .with_fallbacks([ChatScripted(model_name="spare")])
        .with_retry(stop_after_attempt=1),
    }
    model = CascadeChatModel(policy=policy(0.1), models=models)
    config = {"callbacks": [runs], "configurable": {"which": "chosen"}}
    assert model.invoke("Hello", config).response_metadata["model_name"] == "spare"
    assert "weak" in runs.tags[runs.of("model")[0]]

    def look_up(name: str) -> str:
        """Look a name up."""
        return name

    for bound in (model.bind_tools([look_up]), model.bind_tools([look_up], tool_choice="any")):
        message = bound.invoke("Ada", config)
        assert message.tool_calls[0]["args"] == {"name": "Ada"}
        assert message.response_metadata["model_name"] == "chosen"
    model = CascadeChatModel(policy=ScriptedPolicy(), models={**models, "small": models["large"]})
    assert model.bind_tools([look_up]).invoke("Ada").response_metadata["model_name"] == "spare"


def test_a_member_that_returns_no_message_is_replaced(make):
    model = make()
    model.models["small"] = ChatScripted(model_name="small") | StrOutputParser()
    trace = model.invoke("Hello").response_metadata["cascade"]
    assert (trace["model"], trace["failures"][0]["error"]) == ("large", "TypeError")


def test_a_cascade_may_hold_a_cascade(make):
    model = make(0.1)
    model.models["large"] = make(0.1)
    chunks = list(model.stream("Hello"))
    for message in (model.invoke("Hello"), chunks[0] + chunks[1:]):
        assert message.text == "large says so"
        assert message.usage_metadata["total_tokens"] == 45
        assert message.response_metadata["cascade"]["path"] == ["small", "large"]


def word_encoder(texts):
    return np.array([[float("sum" in text), float("poem" in text), len(text) / 100] for text in texts])


def test_a_fitted_policy_serves(tmp_path):
    right = {"small": lambda number: number % 2 == 0, "large": lambda number: True}
    rows = [
        {
            "query_id": str(number),
            "query": f"{'sum' if number % 2 == 0 else 'poem'} {number}",
            "model": model,
            "output": "an answer",
            "correct": float(is_right(number)),
            "input_tokens": 10,
            "output_tokens": 5,
            "cost_usd": 0.001 if model == "small" else 0.01,
        }
        for number in range(80)
        for model, is_right in right.items()
    ]
    fitted = cc.fit(rows, encoder=word_encoder, clusters=2, quality=None, retention=0.99)
    model = CascadeChatModel(policy=fitted, models=pool())
    paths = [model.invoke(f"{topic} 3").response_metadata["cascade"]["path"] for topic in ("sum", "poem")]
    assert paths == [["small"], ["large"]]
    config = {"configurable": {"cascade": {"budget": 0.001}}}
    assert model.invoke("poem 3", config).response_metadata["cascade"]["path"] == ["small"]

    fitted.save(tmp_path / "policy")
    with pytest.raises(ValueError, match="encoder"):
        CascadeChatModel(policy=tmp_path / "policy", models=pool())
