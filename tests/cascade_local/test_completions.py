from functools import reduce
from operator import add

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from cascade_local.completions import openai_messages, pieces, request

TOKEN = {"id": 7, "token": "a", "bytes": [97], "logprob": -0.1}
OTHER = {"id": 8, "token": "b", "bytes": [98], "logprob": -2.0}


def chunk(text=None, finish_reason=None, logprobs=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return {"choices": [choice | ({"logprobs": {"content": logprobs}} if logprobs else {})]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}


def merged(chunks):
    return reduce(add, pieces(chunks, model_name="tiny"))


def test_end_is_told_once_and_last():
    told = [piece.generation_info for piece in pieces([chunk("a"), chunk("b"), chunk(None, "stop"), USAGE], "tiny")]
    assert told == [None, None, {"finish_reason": "stop", "model_name": "tiny"}]


def test_usage_is_counted_once():
    message = merged([chunk("a"), chunk("b"), chunk(None, "length"), USAGE]).message
    assert message.content == "ab"
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


def test_logprobs_add_up_in_openais_shape():
    token = TOKEN | {"top_logprobs": [TOKEN, OTHER]}
    info = merged([chunk("a", None, [token]), chunk("a", None, [token]), chunk(None, "stop"), USAGE]).generation_info
    assert [entry["token"] for entry in info["logprobs"]["content"]] == ["a", "a"]
    first = info["logprobs"]["content"][0]
    assert first.keys() == {"token", "bytes", "logprob", "top_logprobs"}
    assert [other["logprob"] for other in first["top_logprobs"]] == [-0.1, -2.0]


def test_token_without_text_yet_keeps_its_logprob():
    assert merged([chunk("", None, [TOKEN]), chunk("é", None, [TOKEN])]).generation_info["logprobs"]["content"] != []


def test_request_asks_for_two_likeliest_tokens_only_with_logprobs():
    messages = [HumanMessage("hi")]
    assert request(messages, {"max_tokens": 1, "logprobs": True})["top_logprobs"] == 2
    assert "top_logprobs" not in request(messages, {"max_tokens": 1, "logprobs": False})


@pytest.mark.parametrize("messages", [[], [HumanMessage("")], [SystemMessage(""), HumanMessage([])]])
def test_empty_prompt_is_an_error(messages):
    with pytest.raises(ValueError, match="empty"):
        openai_messages(messages)


def test_answer_of_no_tokens_is_an_error():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        request([HumanMessage("hi")], {"max_tokens": 0, "logprobs": False})
