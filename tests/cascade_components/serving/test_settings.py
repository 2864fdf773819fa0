import pytest

from cascade_components.serving.settings import CallSettings


def test_nothing_asked_for():
    assert CallSettings.read(None, "here") == CallSettings.read({}, "here") == CallSettings()


def test_every_wish_is_read():
    found = CallSettings.read({"budget": 0.1, "model": "large", "escalate": False}, "here")
    assert found == CallSettings(("budget", 0.1), "large", escalate=False)
    assert CallSettings.read({"escalate": None, "budget": None}, "here") == CallSettings()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"budgets": 1}, "here is a dictionary of .*; unknown: budgets"),
        ("large", "found 'large'"),
        ({"budget": "x"}, "here budget is a number; found 'x'"),
        ({"retention": True}, "here retention is a number; found True"),
        ({"model": 5}, "here model is a name; found 5"),
        ({"budget": 1, "cost_weight": 1}, "found budget and cost_weight"),
    ],
)
def test_a_wish_that_makes_no_sense_is_an_error(given, problem):
    with pytest.raises(ValueError, match=problem):
        CallSettings.read(given, "here")
