import math

import pytest
from langchain_core.messages import AIMessage

from langchain_cascade.answers import answer_of


def test_everything_an_estimator_can_use_is_read():
    token = {
        "token": "4",
        "logprob": math.log(0.7),
        "top_logprobs": [{"token": "4", "logprob": math.log(0.7)}, {"token": "5", "logprob": math.log(0.2)}],
    }
    message = AIMessage(
        "4",
        usage_metadata={"input_tokens": 5, "output_tokens": 1, "total_tokens": 6},
        response_metadata={"logprobs": {"content": [token]}, "finish_reason": "stop"},
        tool_calls=[{"name": "search", "args": {"q": "x"}, "id": "1"}],
    )
    answer = answer_of(message, "small")
    assert (answer.text, answer.model, answer.output_tokens, answer.finish_reason) == ("4", "small", 1, "stop")
    assert answer.token_logprobs == (round(math.log(0.7), 4),)
    assert answer.token_margins == (0.5,)
    assert answer.tool_calls == ({"name": "search", "args": {"q": "x"}},)


def test_what_is_not_given_is_none():
    answer = answer_of(AIMessage("4"), "small")
    assert (answer.output_tokens, answer.token_logprobs, answer.token_margins, answer.finish_reason) == (None,) * 4


def test_a_margin_needs_two_candidates_for_every_token():
    content = [{"token": "4", "logprob": -0.1, "top_logprobs": [{"token": "4", "logprob": -0.1}]}]
    assert answer_of(AIMessage("4", response_metadata={"logprobs": content}), "m").token_margins is None
    assert answer_of(AIMessage("4", response_metadata={"logprobs": content}), "m").token_logprobs == (-0.1,)
    content[0]["top_logprobs"].append({"token": "5", "logprob": None})
    assert answer_of(AIMessage("4", response_metadata={"logprobs": content}), "m").token_margins is None


@pytest.mark.parametrize(
    ("metadata", "extra", "reason"),
    [
        ({"finish_reason": "length"}, {}, "length"),
        ({"stop_reason": "max_tokens"}, {}, "length"),
        ({"stop_reason": "stop_sequence"}, {}, "stop"),
        ({"stop_reason": "tool_use"}, {}, "tool_calls"),
        ({"done_reason": "stop"}, {}, "stop"),
        ({"finish_reason": "stop"}, {"refusal": "No."}, "refusal"),
    ],
)
def test_every_provider_has_its_word_for_the_end(metadata, extra, reason):
    message = AIMessage("…", response_metadata=metadata, additional_kwargs=extra)
    assert answer_of(message, "m").finish_reason == reason
