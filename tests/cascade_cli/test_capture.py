"""`cascade capture` against a real server on loopback: resumed, killed, stopped, graded again; and bad input."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import pytest

import cascade_components as cc
from cascade_cli.capture import CaptureOptions, run_capture
from cascade_cli.capture_questions import read_questions
from cascade_cli.main import run
from tests.openai_server import Reply

pytestmark = pytest.mark.enable_socket

KEY = "sk-very-secret-key"
NUMBER = re.compile(r"\d+")


@pytest.fixture
def server(server, monkeypatch):
    monkeypatch.setenv("CAPTURE_KEY", KEY)
    server.replies |= {"small": Reply("I say 3."), "large": lambda body: Reply(f"So {asked(body)} it is.")}
    return server


def asked(body):
    return NUMBER.findall(body["messages"][-1]["content"])[-1]


def write(folder, server, names=("small", "large"), count=6, **settings):
    entry = {
        "base_url": server.url,
        "api_key_env": "CAPTURE_KEY",
        "price": {"input": 1, "output": 2},
        "retries": 0,
        "sampling": {"temperature": 0, "max_tokens": 8},
        **settings,
    }
    pool = {"models": {name: {"model": f"openai:{name}", **entry} for name in names}}
    (folder / "pool.yaml").write_text(json.dumps(pool))  # JSON is YAML
    rows = [{"id": f"q{number}", "question": f"Which number is {number}?", "answer": number} for number in range(count)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def options(folder, **given):
    grader = given.pop("grader", "contains")
    paths = {"pool": folder / "pool.yaml", "questions": str(folder / "q.jsonl"), "output": folder / "out.jsonl"}
    return CaptureOptions(**{**paths, "grader": grader, "show": False, **given})


def correct(folder):
    return {(row.query_id, row.model): row.correct for row in cc.load_outcomes(folder / "out.jsonl")}


def test_answers_become_outcomes_that_can_be_fitted_and_nothing_is_asked_twice(server, tmp_path):
    write(tmp_path, server, logprobs=True)
    result = run_capture(options(tmp_path))
    assert (result["outcomes"], result["models"]["small"]["accuracy"], result["models"]["large"]["accuracy"]) == (
        12,
        pytest.approx(1 / 6),
        1.0,
    )
    outcomes = cc.load_outcomes(tmp_path / "out.jsonl")
    for row in outcomes:
        assert (row.input_tokens, row.output_tokens, row.cost_usd) == (7, 3, pytest.approx(13e-6))
        assert 0 <= row.ttft_ms <= row.e2el_ms
        assert row.tpot_ms == pytest.approx((row.e2el_ms - row.ttft_ms) / 2, abs=0.01)
    assert result["spent_usd"] == pytest.approx(12 * 13e-6)
    body = server.bodies[0]
    assert (body["temperature"], body["logprobs"], body["top_logprobs"]) == (0, True, 2)
    again = run_capture(options(tmp_path, runs=2))
    assert len(server.bodies) == 24
    assert again["outcomes"] == 24
    assert list(cc.load_outcomes(tmp_path / "out.jsonl").where(lambda row: row.run == 0)) == list(outcomes)
    assert KEY.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_grading_again_asks_no_model_and_needs_no_key(server, tmp_path, monkeypatch):
    write(tmp_path, server)
    run_capture(options(tmp_path))
    monkeypatch.delenv("CAPTURE_KEY")
    server.bodies.clear()
    (tmp_path / "mine.py").write_text("def longer(question, output): return len(output) > len('I say 3.')\n")
    monkeypatch.chdir(tmp_path)
    for grader in ("numeric", "mine:longer", r"regex:So (\d+)"):
        run_capture(options(tmp_path, grader=grader, regrade=True))
        expected = {"q3": 1.0} if grader == "numeric" else {}
        assert correct(tmp_path) == {
            (f"q{number}", model): 1.0 if model == "large" else expected.get(f"q{number}", 0.0)
            for number in range(6)
            for model in ("small", "large")
        }
    assert server.bodies == []


def test_without_labels_the_strongest_models_answer_counts(server, tmp_path):
    write(tmp_path, server)
    questions = [{"id": "q0", "question": "Which is 3?"}, {"id": "q1", "question": "Is 4 even?"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    result = run_capture(options(tmp_path, grader="numeric", agree_with="large"))
    expected = {("q0", "large"): 1.0, ("q1", "large"): 1.0, ("q0", "small"): 1.0, ("q1", "small"): 0.0}
    assert correct(tmp_path) == expected
    assert result["notes"] == []
    server.replies["judge"] = lambda body: Reply(f"Verdict: {'equal' if '3?' in str(body) else '1'}")
    pool = json.loads((tmp_path / "pool.yaml").read_text())
    pool["judges"] = {"judge": {**pool["models"]["large"], "model": "openai:judge"}}
    (tmp_path / "pool.yaml").write_text(json.dumps(pool))
    run_capture(options(tmp_path, grader="judge:judge", agree_with="large", regrade=True))
    assert correct(tmp_path) == expected | {("q1", "small"): 0.5}
    assert Counter(body["model"] for body in server.bodies) == {"small": 2, "large": 2, "judge": 4}


def test_a_strongest_answer_that_nothing_can_be_compared_with_is_left_out(server, tmp_path):
    write(tmp_path, server, count=2)
    server.replies["large"] = lambda body: Reply("I will not say." if asked(body) == "0" else "It is 1")
    result = run_capture(options(tmp_path, grader="numeric", agree_with="large"))
    assert set(correct(tmp_path)) == {("q1", "small"), ("q1", "large")}
    assert result["notes"] == ["1 not graded: large's answer gives nothing to compare with"]


def test_a_refused_key_is_one_line_and_the_rest_goes_on(server, tmp_path, capsys):
    write(tmp_path, server, retries=2)
    server.replies["large"] = Reply(status=401)
    result = run_capture(options(tmp_path))
    assert result["models"]["large"] == {
        **dict.fromkeys(("accuracy", "cost_usd", "e2el_ms")),
        "outcomes": 0,
        "missing": 6,
    }
    assert re.fullmatch(
        r"cascade: large: \w+, HTTP 401: the key in CAPTURE_KEY was refused; set it to a key that may use this model\n",
        capsys.readouterr().err,
    )
    server.replies["small"] = Reply(status=401)
    (tmp_path / "out.capture.sqlite").unlink()
    with pytest.raises(RuntimeError, match=r"Nothing could be captured\. small: .*CAPTURE_KEY was refused"):
        run_capture(options(tmp_path))


def test_a_cap_is_told_and_the_next_run_goes_on(server, tmp_path):
    write(tmp_path, server)
    result = run_capture(options(tmp_path, max_cost=1e-4))
    assert result["spent_usd"] <= 1e-4
    assert any("the spending cap of 0.0001 USD is reached" in note for note in result["notes"])
    captured = len(server.bodies)
    assert run_capture(options(tmp_path, max_cost=1))["outcomes"] == 12
    assert 0 < captured < 12
    assert len(server.bodies) == 12


def command_line(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cascade", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return ended.value.code


def test_the_command_line(server, tmp_path, monkeypatch, capsys):
    write(tmp_path, server, count=2)
    monkeypatch.chdir(tmp_path)
    arguments = ["capture", "pool.yaml", "q.jsonl", "--output", "a/out.jsonl.gz", "--grader"]
    assert command_line(monkeypatch, *arguments, "nonsense") == 2
    assert capsys.readouterr().err.startswith("cascade: There is no grader 'nonsense'; there are exact,")
    server.replies["small"] = server.replies["large"] = Reply(status=401)
    assert command_line(monkeypatch, *arguments, "contains") == 2
    told = capsys.readouterr().err
    assert told.startswith("cascade: Nothing could be captured. small: ")
    assert told.count("\n") == 1
    server.replies.clear()
    assert command_line(monkeypatch, *arguments, r"regex:(\w+) here", "--agree-with", "large", "--json") == 0
    assert json.loads(capsys.readouterr().out)["outcomes"] == 4
    assert len(cc.load_outcomes(tmp_path / "a" / "out.jsonl.gz")) == 4
    log = [{"model": "small", "messages": [{"role": "user", "content": "a?"}], "response": "b", "score": 1}]
    (tmp_path / "log.json").write_text(json.dumps(log))
    assert command_line(monkeypatch, "import-outcomes", "litellm", "log.json", "--output", "logged.jsonl") == 0
    assert capsys.readouterr().out == "1 outcomes of 1 queries in logged.jsonl: small 1\n"


def started(folder, **environment):
    command = [sys.executable, "-c", "from cascade_cli.main import run; run()", "capture", "pool.yaml", "q.jsonl"]
    return subprocess.Popen(
        [*command, "--grader", "contains", "--output", "out.jsonl", "--json"],
        cwd=folder,
        env={**os.environ, "CAPTURE_KEY": KEY, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kept(folder):
    with closing(sqlite3.connect(folder / "out.capture.sqlite")) as connection:
        return set(connection.execute("SELECT query_id, model, output, e2el_ms FROM answers"))


def wait_for(server, count, process):
    while len(server.bodies) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, SIGINT")
def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing_and_neither_does_ctrl_c(server, tmp_path):
    write(tmp_path, server, count=40, concurrency=3)
    server.replies |= {name: (lambda body: Reply(f"So {asked(body)}.", wait_s=0.02)) for name in ("small", "large")}
    process = started(tmp_path)
    wait_for(server, 20, process)
    process.kill()
    process.communicate()
    asked_before, before = len(server.bodies), kept(tmp_path)
    assert asked_before - 6 <= len(before) <= asked_before  # six were under way

    process = started(tmp_path)
    wait_for(server, 45, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "waiting for the calls under way" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out.jsonl").exists()
    stopped = kept(tmp_path)
    assert before < stopped
    assert len(stopped) - len(before) == len(server.bodies) - asked_before  # none under way was lost

    assert run_capture(options(tmp_path))["outcomes"] == 80
    assert stopped < kept(tmp_path)
    lost = asked_before - len(before)
    assert len(server.bodies) == 80 + lost
    times = Counter((body["model"], asked(body)) for body in server.bodies)
    assert all(times[model, query.removeprefix("q")] == 1 for query, model, _, _ in before)


ONE = "models: {a: {model: 'openai:x', "
MANY = '{"question": "a?", "answer": "b"}\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", MANY * 9999 + '{"question": "a?", "ans\n' + MANY, r"q\.jsonl, line 10000: not valid JSON"),
        ("q.jsonl", MANY * 9999 + "[1]\n", r"q\.jsonl, line 10000: must be a JSON object, found list"),
        ("q.jsonl", '{"question": "a?"}\n', r"q\.jsonl, line 1: the question '\w+' has no answer to grade against"),
        ("q.jsonl", MANY + '{"answer": "b"}\n', r"q\.jsonl, line 2: there is no question; name its field"),
        ("q.jsonl", '{"id": 1, "query": "a"}\n{"id": 1, "query": "b"}\n', r"line 2: the id '1' stands for another"),
        ("q.jsonl", "", r"q\.jsonl holds no questions"),
        ("q.csv", "question,answer\na?,b\na?\n", r"q\.csv, line 3: the row has fewer cells"),
        ("q.csv", 'question,answer\n"a?,b\n', r"q\.csv, line \d: not valid CSV"),
        ("pool.yaml", ONE + "base_ur: y}}", r"base_ur: there is no such field; do you mean base_url"),
        ("pool.yaml", ONE + "api_key: sk-1}}", r"a\.api_key: there is no such field; keys stay"),
        ("pool.yaml", ONE + "sampling: {api_key: sk-1}}}", r"a\.sampling\.api_key: keys stay"),
        ("pool.yaml", ONE + "base_url: 'http://u:p@host'}}", "no passwords in addresses"),
        ("pool.yaml", ONE + "api_key_env: NO_SUCH_KEY}}", "environment variable NO_SUCH_KEY is not set"),
        ("pool.yaml", "models: {a: {model: 'nobody:x'}}", "nobody:x cannot be made: Unable to infer"),
        ("pool.yaml", "models: {a: {model: gpt}}", "unknown model 'gpt'"),
        ("pool.yaml", "models: {a: {model: x, concurrency: 0}}", r"models\.a\.concurrency: Input should be greater"),
        ("pool.yaml", "models:\n  a: {model: x}\n  a: {model: y}\n", r"YAML: line 3: the key 'a' is there twice"),
        ("pool.yaml", "models: [", r"no valid YAML: line 1"),
    ],
)  # fmt: skip
def test_bad_files_are_told_before_any_call(server, tmp_path, name, text, message):
    write(tmp_path, server)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        run_capture(options(tmp_path, **({"questions": str(tmp_path / name)} if name.startswith("q") else {})))
    assert "sk-1" not in str(told.value)
    assert server.bodies == []
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"grader": "nonsense"}, ValueError, "There is no grader 'nonsense'"),
        ({"grader": "judge:nobody"}, ValueError, "needs a model of .*; there are small, large"),
        ({"agree_with": "nobody"}, ValueError, "there is no such model"),
        ({"grader": "json-schema"}, ValueError, "has no schema to grade against"),
        ({"grader": "json-schema", "agree_with": "large"}, ValueError, "--agree-with compares answers"),
        ({"fields": ["nonsense=x"]}, ValueError, "--field must be FIELD=NAME"),
        ({"fields": ["answer=gold"]}, ValueError, "line 1: there is no field 'gold'; found id, question, answer"),
        ({"regrade": True}, FileNotFoundError, "There is nothing to grade again"),
        ({"questions": "none.jsonl"}, FileNotFoundError, "There is no file none.jsonl"),
    ],
)
def test_bad_options_are_told_before_any_call(server, tmp_path, given, error, message):
    write(tmp_path, server)
    with pytest.raises(error, match=message):
        run_capture(options(tmp_path, **given))
    assert server.bodies == []


def test_questions_are_read_from_what_people_have(tmp_path):
    (tmp_path / "a.csv").write_text('\ufeffid,stem,answer,choices\n7,"Two\nlines?",B,x|y\n', encoding="utf-8")
    (found,) = read_questions(str(tmp_path / "a.csv"), names={"question": "stem"}, options_in_prompt=True)
    assert (found.id, found.text, found.answers, found.choices) == ("7", "Two\nlines?\nA. x\nB. y", ("B",), ("x", "y"))
    example = {
        "id": "e1",
        "inputs": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]},
        "outputs": {"expected": 4},
        "metadata": {"task": "sums"},
    }
    (tmp_path / "langsmith.json").write_text(
        json.dumps([example, {"inputs": {"topic": "3 + 3?"}, "outputs": {"x": "6"}}])
    )
    first, second = read_questions(str(tmp_path / "langsmith.json"))
    assert (first.id, first.text, first.answers, first.task, len(first.messages)) == ("e1", "2 + 2?", ("4",), "sums", 2)
    assert (second.text, second.answers) == ("3 + 3?", ("6",))
    with (
        pytest.raises(ImportError, match="pip install datasets")
        if not has_datasets()
        else pytest.raises(ValueError, match="cannot be loaded")
    ):
        read_questions(f"hf:{tmp_path}/none")


def has_datasets():
    import importlib.util

    return importlib.util.find_spec("datasets") is not None


def test_a_saved_dataset_is_read(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    datasets.Dataset.from_list([{"question": "2 + 2?", "answer": "4"}]).save_to_disk(tmp_path / "saved")
    (found,) = read_questions(f"hf:{tmp_path}/saved")
    assert (found.text, found.answers) == ("2 + 2?", ("4",))
