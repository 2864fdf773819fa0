import pytest

from cascade_components.serving.settings import CallSettings
from cascade_components.stickiness import Incumbent
from cascade_components.trace import Plan


def test_the_policy_chooses(begun, policy):
    assert begun(policy()).trace.model == "small"


def test_a_model_named_by_the_caller_is_asked(begun, policy):
    call = begun(policy(), settings=CallSettings(model="large"), able=frozenset())
    assert call.trace.model == "large"
    with pytest.raises(ValueError, match="huge not in the policy"):
        begun(policy(), settings=CallSettings(model="huge"))


def test_only_able_models_are_asked(begun, policy):
    assert begun(policy(), able=frozenset({"large"})).trace.model == "large"


def test_without_a_text_the_strongest_able_model_is_asked(begun, policy):
    call = begun(policy(), text=" ", whole="[image]")
    assert (call.trace.model, "no text to route" in call.trace.reason) == ("large", True)
    assert begun(policy(), text="", whole="[image]", able=frozenset({"small"})).trace.model == "small"


def test_without_a_human_it_is_an_error_unless_a_tool_loop_goes_on(begun, policy):
    given = {"text": "", "whole": "results", "roles": ("system", "ai", "tool")}
    with pytest.raises(ValueError, match=r"no human message to route \(found: system, ai, tool\)\. Do this\."):
        begun(policy(), serving={"remedy": "Do this."}, **given)
    loop = Incumbent("large", in_tool_loop=True)
    assert begun(policy(), last=loop, **given).trace.model == "large"


@pytest.mark.parametrize(("sticky", "model"), [("loop", "small"), ("thread", "large"), (None, "small")])
def test_a_conversation_stays_as_the_serving_says(begun, policy, sticky, model):
    call = begun(policy(Plan("small")), serving={"sticky": sticky}, last=Incumbent("large", in_tool_loop=False))
    assert call.trace.model == model
