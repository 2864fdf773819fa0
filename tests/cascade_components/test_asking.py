import pytest
from pydantic import ValidationError

import cascade_components as cc
from cascade_components.asking import (
    AskInput,
    ExplainInput,
    asking,
    checked_policy,
    checked_question,
    checked_target,
    explaining,
    failure,
    wrong_arguments,
)
from tests.toy import make_rows, toy_encoder


def test_the_tools_are_described_by_models_and_costs(policy):
    for text in (asking(policy), explaining(policy)):
        assert f"{policy.point.cost:.3g} USD on average, large alone 0.00998" in text
    assert "small, medium, large; weakest first" in asking(policy)


def test_the_lowest_budget_that_is_named_can_be_kept(policy):
    budget = float(explaining(policy).rstrip(".").split()[-1])
    assert budget == pytest.approx(0.001, rel=0.02)
    assert policy.at(budget=budget).point.cost <= budget


def test_costs_are_in_the_unit_of_the_policy():
    timed = cc.fit(make_rows(60), encoder=toy_encoder, clusters=1, quality=None, cost="e2el_ms", retention=0.97)
    assert "Costs are in ms" in asking(timed)


def test_both_tools_need_a_question_only():
    for schema in (AskInput, ExplainInput):
        assert schema.model_json_schema()["required"] == ["question"]


def test_a_question_is_not_empty():
    assert checked_question(" a ") == " a "
    with pytest.raises(ValueError, match="The question is empty"):
        checked_question("\n")


def test_a_call_has_one_operating_point():
    assert checked_target(None, None) == {}
    assert checked_target(0.9, None) == {"retention": 0.9}
    assert checked_target(None, 0.0) == {"budget": 0.0}
    with pytest.raises(ValueError, match=r"not both: found retention 0\.9 and budget 0\.1"):
        checked_target(0.9, 0.1)


def test_only_what_fit_makes_can_be_explained(policy):
    assert checked_policy(policy) is policy
    with pytest.raises(ValueError, match="takes a CascadePolicy, which fit makes; found str"):
        checked_policy("policy/")


def test_wrong_arguments_are_named():
    with pytest.raises(ValidationError) as found:
        AskInput(retention="much")
    assert wrong_arguments(found.value) == (
        "The tool was called with wrong arguments: question: Field required; "
        "retention: Input should be a valid number, unable to parse string as a number."
    )


def test_a_failure_tells_the_kinds_of_errors_only():
    errors = [ConnectionError("sk-123"), ConnectionError("sk-456"), TimeoutError("sk-789")]
    assert failure(cc.AllModelsFailed("sk-000", errors)) == (
        "No model of the cascade could answer (ConnectionError, TimeoutError)."
    )
