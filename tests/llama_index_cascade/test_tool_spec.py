"""The cascade as a tool of LlamaIndex's agents."""

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.tools import ToolMetadata
from llama_index.core.tools.calling import acall_tool, call_tool

import cascade_components as cc
from llama_index.llms.cascade import CascadeLLM
from llama_index.tools.cascade import CascadeToolSpec
from tests.toy import make_rows, toy_encoder

from .doubles import ScriptedLLM, policy, pool


@pytest.fixture(scope="module")
def fitted():
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, retention=0.97)


@pytest.fixture
def models(fitted):
    return {name: ScriptedLLM(model_name=name, reply=f"{name}: sure") for name in fitted.models}


@pytest.fixture
def spec(fitted, models):
    return CascadeToolSpec(policy=fitted, models=models)


async def both(tool, **arguments):
    """The output of a call, which is the same either way."""
    found, awaited = call_tool(tool, arguments), await acall_tool(tool, arguments)
    assert (found.content, found.is_error) == (awaited.content, awaited.is_error)
    return awaited


# — asking —


async def test_the_answer_is_the_content_and_the_trace_the_raw_output(spec, models):
    models["small"].reply = "perhaps"
    ask, _ = spec.to_tool_list()
    output = await both(ask, question="code question")
    assert not output.is_error
    assert output.content == "medium: sure"
    assert output.raw_output.trace["path"] == ["small", "medium"]
    assert output.raw_output.trace["cost_usd"] > 0


async def test_the_question_alone_is_routed_and_the_context_goes_before_it(spec, models):
    ask, _ = spec.to_tool_list()
    output = await both(ask, question="sums question", context="poems poems")
    assert output.raw_output.trace["path"] == ["small"]
    for made in models["small"].calls:
        context, question = made["messages"]
        assert (context.role, question.role) == (MessageRole.USER, MessageRole.USER)
        assert "poems poems" in context.content
        assert question.content == "sums question"


async def test_a_call_has_its_own_operating_point(spec, fitted):
    ask, _ = spec.to_tool_list()
    for target in ({"retention": 1.0}, {"budget": 0.002}):
        output = await both(ask, question="poems question", **target)
        assert output.raw_output.trace["policy"] == fitted.at(**target).fingerprint


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # in LlamaIndex's workflows
async def test_an_agent_uses_it(spec):
    wanted = ToolCallBlock(tool_call_id="1", tool_name="ask_cascade", tool_kwargs={"question": "sums question"})

    def reply(messages):
        if messages[-1].role == MessageRole.TOOL:
            return ChatMessage("Done.", role=MessageRole.ASSISTANT)
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[wanted])

    llm = ScriptedLLM(model_name="agent", reply=reply, calls_tools=False)
    agent = FunctionAgent(tools=spec.to_tool_list(), llm=llm, streaming=False)
    running = agent.run("Ask somebody.")
    called = [event async for event in running.stream_events() if isinstance(event, ToolCallResult)]
    assert [event.tool_output.content for event in called] == ["small: sure"]
    assert (await running).response.content == "Done."


# — explaining —


async def test_it_explains_without_asking_a_model(spec, models, fitted):
    _, explain = spec.to_tool_list()
    output = await both(explain, question="poems question", budget=0.005)
    assert output.raw_output == cc.explain(fitted, "poems question", budget=0.005)
    assert output.content == str(output.raw_output)
    assert not any(model.calls for model in models.values())


# — what it says about itself —


def test_the_tools_are_described_by_the_policy(spec):
    ask, explain = (tool.metadata.to_openai_tool()["function"] for tool in spec.to_tool_list())
    assert (ask["name"], explain["name"]) == ("ask_cascade", "explain_cascade")
    assert "small, medium, large" in ask["description"]
    assert "USD on average" in ask["description"]
    assert set(ask["parameters"]["properties"]) == {"question", "context", "retention", "budget"}
    assert set(explain["parameters"]["properties"]) == {"question", "retention", "budget"}
    assert ask["parameters"]["required"] == explain["parameters"]["required"] == ["question"]
    assert all(one["description"] for one in ask["parameters"]["properties"].values())


def test_the_tools_can_be_called_otherwise(spec):
    named = {"explain": ToolMetadata("Explain.", "why")}
    (why,) = spec.to_tool_list(["explain"], named)
    assert (why.metadata.name, why.metadata.description) == ("why", "Explain.")
    assert [tool.metadata.name for tool in spec.to_tool_list(func_to_metadata_mapping=named)] == ["ask_cascade", "why"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda llm: CascadeToolSpec(), "needs policy and models, or a ready llm"),
        (lambda llm: CascadeToolSpec(llm=llm, models=pool()), "give llm alone"),
        (lambda llm: CascadeToolSpec(llm=llm), "takes a CascadePolicy"),
        (lambda llm: CascadeToolSpec(policy=policy(), models={}), "missing: small, large"),
        (lambda llm: CascadeToolSpec(policy=policy(), models=pool(), nonsense=1), "nonsense"),
    ],
)
def test_a_spec_that_cannot_be_made_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make(CascadeLLM(policy=policy(), models=pool()))


def test_it_takes_a_cascade_that_is_ready(fitted, models):
    llm = CascadeLLM(policy=fitted, models=models)
    assert CascadeToolSpec(llm=llm).llm is llm


# — what an agent is told when it errs —


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": " "}, "The question is empty"),
        ({"question": "sums", "retention": 0.9, "budget": 0.1}, "Give retention or budget, not both"),
        ({"question": "sums", "retention": -1}, "retention must be a finite number of at least 0"),
        ({"question": "sums", "budget": 0.0}, "the cheapest costs"),
        ({"question": "sums", "retention": "much"}, "wrong arguments: retention: Input should be a valid number"),
    ],
)
async def test_bad_input_is_an_error_that_the_agent_can_read(spec, models, arguments, message):
    for tool in spec.to_tool_list():
        output = await both(tool, **arguments)
        assert output.is_error
        assert message in output.content
    assert not any(model.calls for model in models.values())


async def test_when_no_model_answers_the_agent_reads_the_kinds_of_errors_only(spec, models):
    for model in models.values():
        model.reply = ConnectionError("key sk-123")
    ask, _ = spec.to_tool_list()
    output = await both(ask, question="sums question")
    assert output.is_error
    assert output.content.endswith("No model of the cascade could answer (ConnectionError).")
