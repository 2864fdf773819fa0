import pytest

from cascade_components import Answer
from cascade_components.quality.checks import failed_checks, fits

ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
TOOLS = {"add": ADD, "anything": {}}


def called(name, args):
    return Answer("", tool_calls=({"name": name, "args": args},))


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (Answer("Paris."), ()),
        (Answer("Paris.", finish_reason="stop"), ()),
        (Answer(""), ("empty",)),
        (Answer(" \n"), ("empty",)),
        (Answer("It was", finish_reason="length"), ("truncated",)),
        (Answer("It was", finish_reason="MAX_TOKENS"), ("truncated",)),
        (Answer("", finish_reason="content_filter"), ("empty", "refused")),
        (Answer("I can't.", finish_reason="refusal"), ("refused",)),
        (called("add", {"a": 1, "b": 2}), ()),
        (called("anything", {"at": ["all"]}), ()),
        (called("subtract", {"a": 1, "b": 2}), ("unknown_tool",)),
        (called("add", {"a": 1}), ("invalid_tool_call",)),
        (called("add", {"a": 1, "b": "two"}), ("invalid_tool_call",)),
        (called("add", "{a: 1"), ("invalid_tool_call",)),
    ],
)
def test_failed_checks(answer, failed):
    assert failed_checks(answer, tools=TOOLS) == failed


def test_unknown_tools_are_not_checked_where_the_tools_are_not_known():
    assert failed_checks(called("subtract", {"a": 1})) == ()
    assert failed_checks(called("subtract", None)) == ("invalid_tool_call",)


def test_an_answer_that_did_not_parse():
    assert failed_checks(Answer("{"), parsed=False) == ("unparsable",)


def test_a_schema_that_is_none_accepts_any_object():
    assert fits({"a": 1}, {"type": "no such type"})
    assert not fits([1], {"type": "no such type"})
