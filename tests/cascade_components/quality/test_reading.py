"""What an encoder reads in cre-router's layout is, to the blank, what cre-router gives it."""

from cre_router.qe import format_qe_input
from hypothesis import example, given
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.quality.reading import cre_router_text

PIECES = ["<think>", "</think>", "<|channel>thought", "<channel|>", "</thinking>", "[SEP]", "\n", "  ", "is it 4?", "x"]
texts = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@given(query=texts, text=texts, tokens=st.integers(0, 10**6))
@example("q", "word\n" * 1000, 1000)
@example("q", "<think>a</think>\n" + "word\n" * 1001, 1001)
def test_the_text_is_cre_routers(query, text, tokens):
    expected = format_qe_input(query, text, tokens, "[SEP]")
    assert cre_router_text(query, cc.Answer(text, output_tokens=tokens), "[SEP]") == expected


def test_words_are_counted_where_tokens_are_not_known():
    """As cre-router's server does: all of them, the reasoning's too."""
    assert cre_router_text("q", cc.Answer("<think>so so</think> 4"), "[SEP]") == "q [SEP] 4 [SEP] 3"
