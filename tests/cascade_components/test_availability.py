import pytest

from cascade_components.availability import Capabilities, Needs, able_models

POOL = {
    "small": Capabilities(frozenset({"image_inputs", "structured_output"}), max_input_tokens=1000),
    "large": Capabilities(frozenset({"audio_inputs"}), max_input_tokens=8000),
    "unknown": Capabilities(),
}


def needs(*groups, tokens=0):
    return Needs(frozenset(frozenset(group.split("|")) for group in groups), tokens)


@pytest.mark.parametrize(
    ("wanted", "able"),
    [
        (needs(), {"small", "large", "unknown"}),
        (needs("image_inputs"), {"large", "unknown"}),
        (needs("image_inputs", "audio_inputs"), {"unknown"}),
        (needs("structured_output|tool_calling"), {"small", "large", "unknown"}),
        (needs(tokens=1000), {"small", "large", "unknown"}),
        (needs(tokens=1001), {"large", "unknown"}),
        (needs(tokens=9000), {"unknown"}),
    ],
)
def test_a_model_that_lacks_what_a_call_needs_is_not_asked(wanted, able):
    assert able_models(wanted, POOL) == able


def test_a_prompt_too_long_for_all_goes_to_the_longest_context():
    pool = {name: POOL[name] for name in ("small", "large")}
    assert able_models(needs(tokens=10_000), pool) == {"large"}


def test_what_no_model_can_do_is_an_error_that_says_who_lacks_what():
    pool = {name: POOL[name] for name in ("small", "large")}
    with pytest.raises(ValueError, match="small has no image_inputs; large has no audio_inputs") as error:
        able_models(needs("image_inputs", "audio_inputs"), pool)
    assert "Add a model" in str(error.value)
