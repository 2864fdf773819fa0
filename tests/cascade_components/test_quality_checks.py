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


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (called("add", {"a": 1, "b": 2}), ("repeated_tool_call",)),
        (called("add", {"b": 2, "a": 1}), ("repeated_tool_call",)),
        (called("anything", {}), ("repeated_tool_call",)),
        (called("add", {"a": 2, "b": 1}), ()),
        (called("anything", {"a": 1, "b": 2}), ()),
        (called("gone", {}), ("unknown_tool", "repeated_tool_call")),
        (Answer("3"), ()),
    ],
)
def test_a_call_whose_result_was_seen_is_not_made_again(answer, failed):
    made = [{"name": "add", "args": {"a": 1, "b": 2}}, {"name": "anything", "args": {}}, {"name": "gone", "args": {}}]
    assert failed_checks(answer, tools=TOOLS, made_calls=made) == failed


def test_the_order_of_the_checks():
    answer = Answer("", finish_reason="length", tool_calls=({"name": "add", "args": {}},))
    made = [{"name": "add", "args": {}}]
    failed = ("truncated", "invalid_tool_call", "repeated_tool_call", "unparsable")
    assert failed_checks(answer, tools=TOOLS, parsed=False, made_calls=made) == failed


def test_an_answer_that_did_not_parse():
    assert failed_checks(Answer("{"), parsed=False) == ("unparsable",)


def test_a_schema_that_is_none_accepts_any_object():
    assert fits({"a": 1}, {"type": "no such type"})
    assert not fits([1], {"type": "no such type"})
