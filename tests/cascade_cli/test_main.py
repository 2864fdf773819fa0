"""The command line as a process: what it prints, and how bad input is told."""

import json
import subprocess
import sys

import pytest

import cascade_components as cc
from tests.toy import make_rows


def cascade(*arguments, **environment):
    command = [sys.executable, "-c", "from cascade_cli.main import run; run()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    path = tmp_path_factory.mktemp("outcomes") / "train.jsonl"
    cc.load_outcomes(make_rows(120)).save(path)
    return path


@pytest.fixture(scope="module")
def folder(outcomes):
    done = cascade("fit", outcomes, "--out", outcomes.parent / "policy", "--retention", "0.9")
    assert done.returncode == 0, done.stderr
    assert "weakest first" in done.stdout
    return outcomes.parent / "policy"


def test_fit_then_evaluate(folder, outcomes):
    done = cascade("evaluate", folder, outcomes, "--json")
    found = json.loads(done.stdout)
    assert found["queries"] == 120
    assert 0.9 < found["retention"] <= 1.1
    table = cascade("evaluate", folder, outcomes, "--cost-weight", "0").stdout
    assert "95 % interval" in table


def broken(outcomes):
    path = outcomes.parent / "broken.jsonl"
    path.write_text(outcomes.read_text().splitlines()[0] + "\n{oh")
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda o, f: ["fit", broken(o), "--out", o.parent / "p"], "broken.jsonl, line 2: not valid JSON"),
        (lambda o, f: ["fit", o.parent / "none.jsonl", "--out", o.parent / "p"], "none.jsonl"),
        (lambda o, f: ["fit", o, "--out", o.parent / "p", "--budget", "1", "--retention", "1"], "Give one of"),
        (lambda o, f: ["fit", o, "--out", o.parent / "p", "--cost", "euros"], "cost must be one of"),
        (lambda o, f: ["fit", o, "--out", o.parent], "is no policy folder"),
        (lambda o, f: ["evaluate", o.parent, o], "holds no policy"),
        (lambda o, f: ["evaluate", f, o, "--budget", "0"], "cheapest costs"),
        (lambda o, f: ["quickstart", "--pool", "nonsense,smollm2-135m"], "'nonsense' is no embedded model"),
        (lambda o, f: ["quickstart", "--ask", " "], "the question is empty"),
        (lambda o, f: ["fit", "--nonsense"], "No such option"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(outcomes, folder, arguments, message):
    done = cascade(*arguments(outcomes, folder))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (outcomes.parent / "p").exists()


@pytest.mark.parametrize("command", [[], ["quickstart"], ["fit"], ["evaluate"]])
def test_every_command_explains_itself(command):
    done = cascade(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
