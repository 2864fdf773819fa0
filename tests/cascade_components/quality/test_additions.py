import numpy as np

import cascade_components as cc
from cascade_components.quality.additions import some, with_addition

ANSWERS = [cc.Answer(f"It is {number}.", output_tokens=4, token_logprobs=(-0.5, -0.2)) for number in range(60)]


def test_an_addition_leaves_the_answer_in_it_and_is_always_the_same():
    added = [with_addition("How many {braces}?", answer) for answer in ANSWERS]
    assert added == [with_addition("How many {braces}?", answer) for answer in ANSWERS]
    for answer, more in zip(ANSWERS, added, strict=True):
        assert answer.text in more.text
        assert more.output_tokens > answer.output_tokens
        assert len(more.token_logprobs) - 2 == more.output_tokens - answer.output_tokens
        assert more.token_margins is None
    kinds = {more.text.replace(answer.text, "") for answer, more in zip(ANSWERS, added, strict=True)}
    assert len(kinds) > 15


def test_any_text_can_be_added_to():
    for text in ("", " ", "\ud800", "x" * 10_000):
        assert text in with_addition("", cc.Answer(text)).text


def test_of_overlapping_lots_nearly_the_same_answers_are_chosen():
    queries = ["?"] * len(ANSWERS)
    chosen = {ANSWERS[place].text for place in some(queries, ANSWERS, 10)}
    order = np.random.default_rng(0).permutation(len(ANSWERS))
    shuffled = [ANSWERS[place] for place in order]
    assert {shuffled[place].text for place in some(queries, shuffled, 10)} == chosen
    half = [answer for answer in ANSWERS if answer.text in chosen or len(answer.text) == 9]
    assert chosen <= {half[place].text for place in some(["?"] * len(half), half, 10)}
    assert len(some(queries, ANSWERS, 1000)) == len(ANSWERS)
