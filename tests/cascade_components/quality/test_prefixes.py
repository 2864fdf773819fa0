import pytest

import cascade_components as cc
from cascade_components.quality.prefixes import CHECKPOINTS, checkpoint, misleads, prefix


def words(count):
    return " ".join(f"w{number}" for number in range(count))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        (words(3), None),
        (words(4), 4),
        (f"  {words(7)}\n", 4),
        (words(8), 8),
        (words(10_000), CHECKPOINTS[-1]),
        (f"<think>{words(50)}", None),
        (f"<think>{words(50)}</think>{words(3)}", None),
        (f"<think>{words(50)}</think>\n\n{words(5)}", 4),
        (f"<|channel>thought {words(50)}<channel|>{words(9)}", 8),
        (f"{words(9)} <thinking>wait", None),
    ],
)
def test_a_checkpoint_counts_readable_words(text, found):
    assert checkpoint(text) == found


def test_a_growing_answer_reaches_its_checkpoints_in_order():
    whole = f"<think>{words(20)}</think> {words(40)}"
    reached = [checkpoint(whole[:end]) for end in range(len(whole) + 1)]
    assert [found for found in dict.fromkeys(reached) if found] == [4, 8, 16, 32]


def test_a_prefix_is_what_a_stream_has_shown():
    answer = cc.Answer(
        f"<think>hm</think> {words(10)}",
        model="small",
        output_tokens=44,
        token_logprobs=tuple(-float(n) for n in range(44)),
        token_margins=(0.5,) * 44,
        finish_reason="stop",
    )
    beginning = prefix(answer, 4)
    assert beginning.text == f"<think>hm</think> {words(4)}"
    assert len(beginning.token_logprobs) == len(beginning.token_margins) == pytest.approx(44 * 29 / 47, abs=1)
    assert beginning.token_logprobs == answer.token_logprobs[: len(beginning.token_logprobs)]
    assert (beginning.model, beginning.output_tokens, beginning.finish_reason) == ("small", None, None)
    assert prefix(answer, 10).text == answer.text
    assert prefix(answer, 16) is None
    assert prefix(beginning, 4).text == beginning.text


def test_an_answer_that_never_leaves_its_reasoning_has_no_prefix():
    assert prefix(cc.Answer(f"<think>{words(50)}"), 4) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("it is 4", False),
        (f"<think>{words(9)}</think> it is 4", False),
        (f"<think>{words(9)}", False),
        (f"{words(9)}</think> it is 4", True),
        (f"{words(9)} <think>{words(9)}</think> it is 4", True),
    ],
)
def test_an_answer_that_starts_over_misleads(text, found):
    assert misleads(text) is found
