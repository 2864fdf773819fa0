"""What the suite has found, each by itself and repeatable."""

import cascade_components as cc
from cascade_components.serving.call import ServedCall
from cascade_components.serving.health import Health
from cascade_components.serving.setup import Serving
from cascade_components.serving.turn import Turn
from tests.langchain_cascade.doubles import policy

TOOLS = {"sky_over": {"type": "object", "properties": {"city": {"type": "string"}}}}
UNKNOWN = cc.Answer("", tool_calls=({"name": "no_such_tool", "args": {}},))


def test_a_streamed_answer_is_not_replaced_by_a_model_that_came_back_meanwhile():
    now = [0.0]
    health, settings = Health(clock=lambda: now[0]), cc.Resilience(failures_to_open=1, failing_for=0, cool_down=1)
    health.circuits.failed("large", ConnectionError(), settings, asked_at=0)
    turn = Turn("question", able=frozenset({"small", "large"}), tools=TOOLS, shaped=True, live=True)
    call = ServedCall(Serving(policy(), resilience=settings, health=health), turn)
    call.begin()
    assert call.open_pass() == "small"
    assert not call.held  # nobody stronger is there: its answer is passed on as it comes
    call.seen = True
    now[0] = 2.0
    call.close_pass("an answer", None, None)
    call.judge(UNKNOWN)
    assert call.trace.done
    assert (call.trace.model, call.trace.failed_checks) == ("small", ("unknown_tool",))
