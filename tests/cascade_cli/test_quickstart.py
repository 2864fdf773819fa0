"""The quickstart, with the real models: what a newcomer sees first."""

import json
import subprocess
import sys
from importlib import resources

import pytest

import cascade_components as cc
from cascade_cli.questions import generate_questions, grade, split_questions


@pytest.fixture(scope="module")
def recorded():
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        return cc.load_outcomes(path)


def test_the_recorded_outcomes_are_those_of_the_questions(recorded):
    questions = {question.id: question for question in generate_questions()}
    assert recorded.queries == {question.id: question.text for question in questions.values()}
    assert recorded.models == ("qwen2.5-0.5b", "smollm2-135m")
    assert len(recorded) == 2 * len(questions)
    for row in recorded:
        assert row.correct == grade(questions[row.query_id], row.output)
        assert row.cost_usd > 0 < row.e2el_ms
        assert len(row.token_logprobs) > 0


def run(*arguments, timeout=280):
    command = [sys.executable, "-c", "from cascade_cli.main import run; run()", "quickstart", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.local
def test_one_command_fits_measures_and_answers_live():
    done = run("--json", "--ask", "What is the capital of Poland?", "--ask", "What is the plural of mouse?")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    test_questions = split_questions(generate_questions())["test"]
    assert found["questions"] == len(test_questions)
    assert found["pool"] == ["smollm2-135m", "qwen2.5-0.5b"]
    results = found["results"]
    for name in ("always:smollm2-135m", "always:qwen2.5-0.5b", "random mix", "cascade"):
        assert {"accuracy", "cost", "e2el_ms", "tpot_ms"} <= set(results[name])
    strongest, cascade = results["always:qwen2.5-0.5b"], results["cascade"]
    assert cascade["cost"] < strongest["cost"]
    assert cascade["accuracy"] > results["random mix"]["accuracy"] > results["always:smollm2-135m"]["accuracy"]
    assert cascade["retention"] == pytest.approx(cascade["accuracy"] / strongest["accuracy"])
    assert 0 < cascade["escalation_rate"] < 1
    assert [row["done"] for row in found["live"]] == [True, True]
    assert all(row["answer"] and row["cost_usd"] > 0 for row in found["live"])


@pytest.mark.local
def test_a_question_that_no_model_can_hold_is_one_clear_line():
    done = run("--ask", "word " * 20_000)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cascade:")]
    assert "ContextOverflowError" in line
    assert "Traceback" not in done.stderr
