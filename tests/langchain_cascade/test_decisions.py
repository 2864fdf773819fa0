"""A policy as LangChain's decision model."""

import importlib
import sys

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware
from langchain_core.decisions import Box, Choice, Noul, Score
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from langchain_cascade.decisions import CascadeDecisionModel
from tests.toy import COST, make_rows, toy_encoder

from .doubles import ChatScripted

WHO = Choice(instructions="Who should answer?", criteria=dict.fromkeys(COST))
GOOD = Noul(instructions="Is this answer good enough?")


class BySureness:
    """Believes an answer that says "sure", and a longer one a little more."""

    def predict_proba(self, queries, answers):
        return np.array([(0.9 if "sure" in one.text else 0.1) + (one.output_tokens or 0) / 1e4 for one in answers])


@pytest.fixture(scope="module")
def policy():
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, quality=BySureness(), retention=0.97)


@pytest.fixture(scope="module")
def lone_policy():
    """Its plans have no gates, and it has no estimators."""
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, quality=None, retention=0.97)


def ask(decisions, state, question):
    return decisions.invoke({"state": state, "questions": {"q": question}}).answers["q"]


def conversation(answer="sure 1", **fields):
    return [SystemMessage("Be brief."), HumanMessage("poems question 1"), AIMessage(answer, **fields)]


# — who should answer —


@pytest.mark.parametrize("topic", ["sums", "poems", "code"])
async def test_a_choice_is_the_policys_route(policy, topic):
    decisions, text = CascadeDecisionModel(policy=policy), f"{topic} question"
    expected = policy.route(text, frozenset(policy.models)).plan.start
    request = {"state": text, "questions": {"q": WHO}}
    for response in (decisions.invoke(request), await decisions.ainvoke(request)):
        assert response.choices["q"].choice == expected
        assert response.model == f"cascade-{policy.fingerprint}"


def test_the_probabilities_of_a_choice_are_shares_of_the_clusters_queries(policy):
    right = {}
    for row in make_rows():
        if row["query"].startswith("poems"):
            right.setdefault(row["query_id"], {})[row["model"]] = row["correct"]
    needed = [next((model for model in COST if found[model]), "small") for found in right.values()]
    answer = ask(CascadeDecisionModel(policy=policy), "poems question", WHO)
    assert answer.probabilities == pytest.approx({model: needed.count(model) / len(needed) for model in COST})
    share = np.mean([found[answer.choice] for found in right.values()])
    assert answer.confidence == pytest.approx(share, abs=0.05)


def test_outcomes_that_are_not_known_count_as_the_models_accuracy():
    rows = [row for row in make_rows() if row["model"] != "medium" or int(row["query_id"][1:]) % 2]
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None, retention=0.97)
    known = ask(CascadeDecisionModel(policy=policy), "code question", WHO).probabilities
    assert sum(known.values()) == pytest.approx(1)
    assert known["medium"] == pytest.approx(0.42, abs=0.08)


def test_a_choice_between_some_of_the_models(policy):
    some = Choice(instructions="Who?", criteria={"small": "easy", "medium": "hard"})
    answer = ask(CascadeDecisionModel(policy=policy), "poems question", some)
    assert answer.choice in answer.probabilities
    assert list(answer.probabilities) == ["small", "medium"]
    assert sum(answer.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "state",
    [
        "nothing like the rest",
        HumanMessage([{"type": "image", "url": "https://example.org/cat.png"}]),
    ],
)
def test_what_cannot_be_placed_goes_to_the_strongest(policy, state):
    answer = ask(CascadeDecisionModel(policy=policy), state, WHO)
    assert answer.choice == "large"
    assert answer.confidence == pytest.approx(policy.evidence.accuracy[-1], abs=0.01)


@pytest.mark.parametrize(
    "state",
    [
        "poems question 1",
        HumanMessage("poems question 1"),
        conversation(),
        {"messages": conversation(), "jump_to": None},
        [("human", "poems question 1")],
        [{"role": "user", "content": "poems question 1"}],
    ],
)
def test_states_of_every_shape(policy, state):
    seen = []

    def query(messages):
        seen.append(next(m.text for m in reversed(messages) if isinstance(m, HumanMessage)))
        return seen[-1]

    ask(CascadeDecisionModel(policy=policy, query=query), state, WHO)
    assert seen == ["poems question 1"]


# — is the answer good —


async def test_a_noul_is_the_estimators_probability(policy):
    decisions = CascadeDecisionModel(policy=policy, answered_by="small")
    for text in ("sure 1", "perhaps 1"):
        answer = cc.Answer(text, model="small")
        (expected,) = policy.estimator("small").predict_proba(["poems question 1"], [answer])
        assert ask(decisions, conversation(text), GOOD).noul == pytest.approx(expected)
        response = await decisions.ainvoke({"state": conversation(text), "questions": {"q": GOOD}})
        assert response.nouls["q"].noul == pytest.approx(expected)


@pytest.mark.parametrize("fields", [{"answer": ""}, {"response_metadata": {"finish_reason": "length"}}])
def test_an_answer_that_fails_a_check_is_not_good(policy, fields):
    assert ask(CascadeDecisionModel(policy=policy, answered_by="small"), conversation(**fields), GOOD).noul == 0


def test_a_cascades_own_answer_is_judged_as_its_gate_judged_it(policy):
    models = {name: ChatScripted(model_name=name, reply=f"{name}, sure") for name in COST}
    gated = next(p for p in policy.front() if p.route("poems question 1", frozenset(COST)).plan.target)
    plan = gated.route("poems question 1", frozenset(COST)).plan
    models[plan.start].reply = "perhaps"
    message = CascadeChatModel(policy=gated, models=models).invoke("poems question 1")
    state = [HumanMessage("poems question 1"), message]
    trace = message.response_metadata["cascade"]
    assert trace["path"] == [plan.start, plan.target]
    answer = cc.Answer(message.text, model=plan.target, output_tokens=trace["passes"][-1]["usage"]["output_tokens"])
    (expected,) = policy.estimator(plan.target).predict_proba(["poems question 1"], [answer])
    assert ask(CascadeDecisionModel(policy=policy), state, GOOD).noul == pytest.approx(expected)


@pytest.mark.parametrize("levels", [["wrong", "right"], ["bad", "so so", "fine", "good"]])
def test_a_score_has_wrong_and_right_at_its_ends(policy, levels):
    decisions = CascadeDecisionModel(policy=policy, answered_by="small")
    correct = ask(decisions, conversation(), GOOD).noul
    answer = ask(decisions, conversation(), Score(instructions="How good?", criteria=levels))
    assert answer.score == pytest.approx(correct * (len(levels) - 1))
    assert answer.legend == dict(enumerate(levels))
    assert list(answer.probabilities) == list(range(len(levels)))
    assert (answer.probabilities[0], answer.probabilities[len(levels) - 1]) == (1 - correct, correct)
    assert answer.confidence == max(correct, 1 - correct)


# — LangChain's own middleware —


@pytest.mark.filterwarnings("ignore:.*is in beta")
async def test_langchains_router_middleware_runs_on_a_policy(lone_policy):
    models = {name: ChatScripted(model_name=name, reply=f"{name} says so") for name in COST}
    router = ModelRouterMiddleware(
        choices={name: ModelChoice(model=model, criteria=None) for name, model in models.items()},
        instructions="Who should answer?",
        classifier=CascadeDecisionModel(policy=lone_policy),
    )
    agent = create_agent(ChatScripted(model_name="unused", reply=RuntimeError("asked")), middleware=[router])
    for topic in ("sums", "poems"):
        given = {"messages": [HumanMessage(f"{topic} question")]}
        expected = lone_policy.route(f"{topic} question", frozenset(COST)).plan.start
        for result in (agent.invoke(given), await agent.ainvoke(given)):
            assert result["messages"][-1].text == f"{expected} says so"


# — what it cannot answer —


@pytest.mark.parametrize(
    ("state", "question", "problem"),
    [
        ("Hi", Box(instructions="Where?"), r"Question 'q' is a box.*\(small, medium, large\)"),
        ("Hi", Choice(instructions="?", criteria={"small": None, "huge": None}), "a choice with huge"),
        ("Hi", GOOD, "last message is an AI message"),
        ([], GOOD, "last message is an AI message"),
        (conversation(), GOOD, "answered_by="),
        ({"ticket": "Hi"}, WHO, "a mapping with messages; found dict"),
        ([{"ticket": "Hi"}], WHO, "found list"),
        ("  ", WHO, "nothing to answer"),
    ],
)
def test_what_it_cannot_answer_is_a_clear_error(policy, state, question, problem):
    with pytest.raises(ValueError, match=problem):
        ask(CascadeDecisionModel(policy=policy), state, question)


def test_tool_calls_alone_are_no_answer_to_judge(policy):
    state = conversation("", tool_calls=[{"name": "add", "args": {}, "id": "1"}])
    with pytest.raises(ValueError, match="only calls tools"):
        ask(CascadeDecisionModel(policy=policy, answered_by="small"), state, GOOD)


def test_who_answered_must_have_an_estimator(policy, lone_policy):
    with pytest.raises(ValueError, match="no quality estimator for answers of huge; it has one for"):
        CascadeDecisionModel(policy=policy, answered_by="huge")
    with pytest.raises(ValueError, match="it has one for none of its models"):
        CascadeDecisionModel(policy=lone_policy, answered_by="small")


def test_a_folder_without_a_policy_and_an_unknown_parameter_are_refused(policy, tmp_path):
    with pytest.raises(FileNotFoundError):
        CascadeDecisionModel(policy=tmp_path / "none")
    with pytest.raises(ValueError, match="answerd_by"):
        CascadeDecisionModel(policy=policy, answerd_by="small")


def test_without_decision_models_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "langchain_cascade.decisions")
    monkeypatch.setitem(sys.modules, "langchain_core.decisions", None)
    with pytest.raises(ImportError, match=r"langchain-core>=1\.8"):
        importlib.import_module("langchain_cascade.decisions")
