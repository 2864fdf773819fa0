"""The cascade as a tool: LangChain's own suite for tools, and what an agent gets to see."""

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import ValidationError

import cascade_components as cc
from langchain_cascade.agent_tool import CascadeTool, ExplainTool
from tests.toy import make_rows, toy_encoder

from .doubles import ChatScripted, policy, pool

QUESTION = "What is 2 + 2?"


@pytest.fixture(scope="module")
def fitted():
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, quality=None, retention=0.97)


class AskFixture:
    tool_constructor = CascadeTool

    @property
    def tool_invoke_params_example(self):
        return {"question": QUESTION, "context": "Sums of small numbers.", "retention": 0.9}

    @property
    def tool_constructor_params(self):
        return {"policy": policy(), "models": pool()}


class TestAskUnit(AskFixture, ToolsUnitTests):
    pass


class TestAskIntegration(AskFixture, ToolsIntegrationTests):
    pass


class ExplainFixture:
    tool_constructor = ExplainTool

    @property
    def tool_invoke_params_example(self):
        return {"question": "sums question", "retention": 0.9}

    @pytest.fixture(autouse=True)
    def _policy(self, fitted):
        self.fitted = fitted

    @property
    def tool_constructor_params(self):
        return {"policy": self.fitted}


class TestExplainUnit(ExplainFixture, ToolsUnitTests):
    pass


class TestExplainIntegration(ExplainFixture, ToolsIntegrationTests):
    pass


def call(tool, **args):
    return {"name": tool.name, "args": args, "id": "call_1", "type": "tool_call"}


async def asked(tool, config=None, **args):
    """The messages of both ways to call a tool; they are the same."""
    messages = [tool.invoke(call(tool, **args), config), await tool.ainvoke(call(tool, **args), config)]
    assert messages[0].content == messages[1].content
    assert messages[0].status == messages[1].status
    return messages[1]


# — asking —


async def test_the_answer_is_the_content_and_the_trace_the_artifact(make):
    message = await asked(CascadeTool(cascade=make(0.1)), question=QUESTION)
    assert message.content == "large says so"
    assert message.status == "success"
    assert message.artifact["path"] == ["small", "large"]
    assert message.artifact["escalated"]
    assert message.artifact["cost_usd"] > 0


def test_without_a_tool_call_the_answer_is_the_result(make):
    assert CascadeTool(cascade=make()).invoke({"question": QUESTION}) == "small says so"
    assert CascadeTool(cascade=make()).invoke(QUESTION) == "small says so"


async def test_the_question_alone_is_routed_and_the_context_goes_before_it(make):
    cascade = make()
    await asked(CascadeTool(cascade=cascade), question=QUESTION, context="Numbers are in base 3.")
    assert cascade.policy.asked == [QUESTION] * 2
    for made in cascade.models["small"].calls:
        context, question = made["messages"]
        assert isinstance(context, HumanMessage)
        assert "Numbers are in base 3." in context.text
        assert question.text == QUESTION


async def test_a_call_has_its_own_operating_point(make):
    cascade = make()
    tool = CascadeTool(cascade=cascade)
    assert (await asked(tool, question=QUESTION, retention=0.9)).artifact["model"] == "large"
    assert (await asked(tool, question=QUESTION, budget=0.5)).artifact["model"] == "large"
    assert cascade.policy.points == [{"retention": 0.9}, {"budget": 0.5}]
    assert (await asked(tool, question=QUESTION)).artifact["model"] == "small"


async def test_settings_in_the_config_hold_but_for_the_operating_point_that_is_asked_for(make):
    cascade = make(0.1)
    tool = CascadeTool(cascade=cascade)
    config = {"configurable": {"cascade": {"escalate": False, "budget": 0.5}, "thread_id": "7"}}
    message = await asked(tool, config, question=QUESTION, retention=0.9)
    assert cascade.policy.points == [{"retention": 0.9}]
    assert message.artifact["model"] == "large"
    message = await asked(tool, {"configurable": {"cascade": {"escalate": False}}}, question=QUESTION)
    assert message.artifact["path"] == ["small"]


async def test_wrapped_calls_nest_under_the_run_of_the_tool(make, runs):
    tools = []
    runs.on_tool_start = lambda serialized, text, *, run_id, **kwargs: tools.append(run_id)
    await asked(CascadeTool(cascade=make(0.1)), {"callbacks": [runs], "tags": ["mine"]}, question=QUESTION)
    assert len(tools) == 2
    assert [runs.parents[chain] for chain in runs.of("chain")] == tools
    assert len(runs.of("model")) == 4
    assert {runs.parents[model] for model in runs.of("model")} == set(runs.of("chain"))
    assert all("mine" in runs.tags[model] for model in runs.of("model"))


async def test_an_agent_uses_it(make):
    tool = CascadeTool(cascade=make(0.1))
    wanted = AIMessage("", tool_calls=[call(tool, question=QUESTION, context="Base 3.")])
    agent_model = ChatScripted(
        model_name="agent",
        calls_tools=False,
        reply=lambda messages: AIMessage("Done.") if isinstance(messages[-1], ToolMessage) else wanted,
    )
    found = await create_agent(agent_model, tools=[tool]).ainvoke({"messages": [("user", "Ask somebody.")]})
    assert found["messages"][-2].content == "large says so"
    assert found["messages"][-2].artifact["path"] == ["small", "large"]
    (described,) = agent_model.calls[0]["tools"]
    assert described["function"]["name"] == "ask_cascade"
    assert set(described["function"]["parameters"]["properties"]) == {"question", "context", "retention", "budget"}
    assert described["function"]["parameters"]["required"] == ["question"]


# — what it says about itself —


def test_the_description_names_the_models_and_what_they_cost(fitted):
    tool = CascadeTool(policy=fitted, models={name: ChatScripted(model_name=name) for name in fitted.models})
    assert "small, medium, large" in tool.description
    assert f"{fitted.point.cost:.3g} USD on average, large alone 0.00998" in tool.description
    assert "0.00998" in ExplainTool(policy=fitted).description


def test_a_tool_has_its_own_parameters_and_the_cascade_the_others():
    tool = CascadeTool(policy=policy(), models=pool(), name="ask", description="Ask.", tags=["a"], max_tokens=7)
    assert (tool.name, tool.description, tool.tags) == ("ask", "Ask.", ["a"])
    assert tool.cascade.max_tokens == 7
    assert tool.cascade.tags is None


def test_a_policy_is_read_from_its_folder(fitted, tmp_path):
    trained = cc.fit(make_rows(60), clusters=2, quality=None, cost_weight=0.1)
    trained.save(tmp_path)
    tool = ExplainTool(policy=tmp_path)
    assert tool.policy.fingerprint == trained.fingerprint


@pytest.mark.parametrize(
    ("make_tool", "message"),
    [
        (lambda cascade: CascadeTool(), "needs policy and models, or a ready cascade"),
        (lambda cascade: CascadeTool(policy=policy()), "needs policy and models, or a ready cascade"),
        (lambda cascade: CascadeTool(cascade=cascade, models=pool()), "give cascade alone"),
        (lambda cascade: CascadeTool(cascade=cascade, max_tokens=7), "give cascade alone"),
        (lambda cascade: CascadeTool(policy=policy(), models={}), "missing: small, large"),
        (lambda cascade: CascadeTool(policy=policy(), models=pool(), nonsense=1), "nonsense"),
        (lambda cascade: ExplainTool(), "needs a policy, or a cascade"),
        (lambda cascade: ExplainTool(cascade=cascade), "CascadePolicy"),
    ],
)
def test_a_tool_that_cannot_be_made_says_why(make, make_tool, message):
    with pytest.raises(ValueError, match=message):
        make_tool(make())


# — what an agent is told when it errs —


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"question": " "}, "The question is empty"),
        ({"question": "sums", "retention": 0.9, "budget": 0.1}, "Give retention or budget, not both"),
        ({"question": "sums", "retention": -1}, "retention must be a finite number of at least 0, found -1"),
        ({"question": "sums", "budget": -0.1}, "budget must be a finite number of at least 0"),
        ({"question": "sums", "budget": 0.0}, "No plan is within the budget of 0 per query: the cheapest costs 0.001"),
        ({"question": "sums", "retention": 2}, "No plan keeps 200.00%"),
        ({"question": "sums", "retention": "much"}, "retention: Input should be a valid number"),
        ({}, "question: Field required"),
    ],
)
async def test_bad_input_is_an_error_that_the_agent_can_read(fitted, args, message):
    models = {name: ChatScripted(model_name=name) for name in fitted.models}
    for tool in (CascadeTool(policy=fitted, models=models), ExplainTool(policy=fitted)):
        found = await asked(tool, **args)
        assert found.status == "error"
        assert message in found.content
    assert not any(model.calls for model in models.values())


async def test_errors_are_raised_where_that_is_wanted(make):
    tool = CascadeTool(cascade=make(), handle_tool_error=False, handle_validation_error=False)
    with pytest.raises(ToolException, match="The question is empty"):
        tool.invoke({"question": ""})
    with pytest.raises(ValidationError):
        await tool.ainvoke({})


async def test_when_no_model_answers_the_agent_reads_the_kinds_of_errors_only(make):
    broken = {"small": ConnectionError("key sk-123"), "large": TimeoutError("key sk-456")}
    found = await asked(CascadeTool(cascade=make(**broken)), question=QUESTION)
    assert found.status == "error"
    assert found.content == "No model of the cascade could answer (ConnectionError, TimeoutError)."


async def test_a_spending_limit_is_told(make):
    tool = CascadeTool(cascade=make(spend_limit=cc.SpendLimit(1e-9)))
    found = await asked(tool, question=QUESTION)
    assert found.status == "error"
    assert "limit" in found.content


# — explaining —


async def test_it_explains_without_asking_a_model(fitted):
    models = {name: ChatScripted(model_name=name) for name in fitted.models}
    cascade = CascadeTool(policy=fitted, models=models).cascade
    found = await asked(ExplainTool(cascade=cascade), question="poems question", budget=0.005)
    expected = cc.explain(fitted, "poems question", budget=0.005)
    assert found.content == str(expected)
    assert found.artifact == expected.to_dict()
    assert not any(model.calls for model in models.values())
