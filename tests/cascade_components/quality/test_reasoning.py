import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_components.quality.reasoning import spoken, starts_within, without_stray_ends

PIECES = ["<think>", "</think>", "<thinking>", "</thinking>", "<|channel>", "<channel|>", "a", " ", "\n", "<", "4"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "4"),
        ("<think>5?</think>4", "4"),
        ("<|channel>5?<channel|>4", "4"),
        ("5?</thinking>4", "4"),
        ("So: <think>5?</think>4 <think>6?</think>.", "So: 4 ."),
        ("5?</think>4</think> sure", "4  sure"),  # a second end hides nothing
        ("<think>5?", "<think>5?"),
        ("1 < 4", "1 < 4"),
        ("4\u200b2\u00ad\U000e0041\U000e007f\ufeff", "42"),
        ("<think>5?</th\u200bink>4", "4"),
    ],
)
def test_what_is_said(text, said):
    assert spoken(text) == said


@given(TEXTS)
@settings(max_examples=200)
def test_stray_ends_are_all_there_is_to_blot_out(text):
    blotted = without_stray_ends(text)
    assert not starts_within(blotted)
    assert (blotted == text) == (not starts_within(text))
    assert "</think>" not in spoken(text)
    assert spoken(spoken(text)) == spoken(text) or "<think" in text or "<|channel>" in text
