"""One call's own settings."""

import pytest

from .doubles import ChatScripted


def ask(cascade, **settings):
    return cascade.invoke("Hello", {"configurable": {"cascade": settings, "thread_id": "1"}})


def test_a_member_of_the_pool_is_asked_by_name(make):
    trace = ask(make(0.1), model="large").response_metadata["cascade"]
    assert (trace["path"], trace["escalated"]) == (["large"], False)
    assert ask(make(0.1), model="small").response_metadata["cascade"]["path"] == ["small"]


def test_no_escalation(make):
    trace = ask(make(0.1), escalate=False).response_metadata["cascade"]
    assert trace["path"] == ["small"]
    assert ask(make(0.1), escalate=None).response_metadata["cascade"]["path"] == ["small", "large"]


@pytest.mark.parametrize("target", [{"budget": 0.002}, {"retention": 0.99}, {"cost_weight": 0.1}])
def test_another_operating_point_is_solved_once(make, target):
    model = make(0.1)
    for _ in range(3):
        assert ask(model, **target).response_metadata["cascade"]["path"] == ["large"]
    assert model.policy.points == [target]
    assert ask(model).response_metadata["cascade"]["path"] == ["small", "large"]


def test_only_the_last_operating_points_are_kept(make):
    model = make(0.1)
    for number in range(40):
        ask(model, budget=number)
    ask(model, budget=39)
    ask(model, budget=0)
    assert len(model.policy.points) == 41


def test_wrapped_models_do_not_see_the_settings(make):
    seen = []

    class Looks(ChatScripted):
        def invoke(self, *args, **kwargs):
            seen.append(args[1]["configurable"])
            return super().invoke(*args, **kwargs)

    model = make(0.9)
    model.models["small"] = Looks(model_name="small")
    ask(model, escalate=True)
    assert seen == [{"thread_id": "1"}]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"budgets": 1}, "unknown: budgets"),
        ({"budget": 1, "retention": 0.9}, "budget and retention"),
        ("large", "found 'large'"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_an_error(make, settings, problem):
    model = make()
    config = {"configurable": {"cascade": settings}}
    with pytest.raises(ValueError, match=problem):
        model.invoke("Hello", config)
    with pytest.raises(ValueError, match=problem):
        await model.ainvoke("Hello", config)


def test_an_unknown_model_is_an_error(make):
    with pytest.raises(ValueError, match="huge not in the policy; the policy knows small, large"):
        ask(make(), model="huge")
