import numpy as np
import pytest

import cascade_components as cc
from cascade_components.quality.features import FEATURES, answer_features, readable_text


def feature(name, answer, query="a b"):
    return answer_features([query], [answer])[0, FEATURES.index(name)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<think>maybe 5</think> 4", "4"),
        ("thoughts </think>4", "4"),
        ("  4\n", "4"),
        ("", ""),
    ],
)
def test_the_reasoning_block_is_dropped(text, read):
    assert readable_text(cc.Answer(text)) == read


def test_a_long_answer_is_read_from_its_end():
    text = readable_text(cc.Answer(" ".join(str(n) for n in range(1500))))
    assert text.split()[0] == "500"
    assert text.split()[-1] == "1499"


def test_what_is_not_known_is_nan_and_the_rest_is_not():
    row = answer_features(["q"], [cc.Answer("four")])[0]
    unknown = {name for name, value in zip(FEATURES, row, strict=True) if np.isnan(value)}
    assert unknown == {"output_tokens", "mean_logprob", "min_logprob", "first_logprob", "mean_margin", "min_margin"}


def test_shape_and_confidence():
    answer = cc.Answer("no no no", token_logprobs=(-0.5, -2.0, -0.1), token_margins=(0.9, 0.2), finish_reason="length")
    assert feature("repetition", answer) == pytest.approx(2 / 3)
    assert feature("truncated", answer) == 1
    assert feature("min_logprob", answer) == -2.0
    assert feature("first_logprob", answer) == -0.5
    assert feature("mean_margin", answer) == pytest.approx(0.55)
    assert feature("empty", cc.Answer("  ")) == 1
    assert feature("digits", cc.Answer("42")) == 1
