"""The command line as a process: what it prints, and how bad input is told."""

import json
import os
import socket
import subprocess
import sys

import pytest

import cascade_components as cc
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.toy import make_rows

POOL = "small=openai:gpt-a,medium=openai:gpt-b,large=openai:gpt-c"


def cascade(*arguments, **environment):
    command = [sys.executable, "-c", "from cascade_cli.main import run; run()", *map(str, arguments)]
    environment = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)


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


def test_fit_takes_an_encoder_and_an_estimator(outcomes, tmp_path):
    model = make_sentence_transformer(tmp_path / "model")
    policy, cache = tmp_path / "policy", {"CASCADE_CACHE": str(tmp_path / "cache")}
    encoder = f"distilled:{model}"
    done = cascade("fit", outcomes, "--out", policy, "--encoder", encoder, "--quality", "none", **cache)
    assert done.returncode == 0, done.stderr
    loaded = cc.CascadePolicy.load(policy)
    assert loaded.encoder.encoder.spec == encoder
    assert not loaded.estimators


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
        (lambda o, f: ["fit", o, "--out", o.parent / "p", "--quality", "good"], "quality must be"),
        (
            lambda o, f: ["fit", o, "--out", o.parent / "p", "--encoder", "static:none"],
            "static embeddings 'none' could",
        ),
        (lambda o, f: ["fit", o, "--out", o.parent], "is no policy folder"),
        (lambda o, f: ["evaluate", o.parent, o], "holds no policy"),
        (lambda o, f: ["evaluate", f, o, "--budget", "0"], "cheapest costs"),
        (lambda o, f: ["quickstart", "--pool", "nonsense,smollm2-135m"], "'nonsense' is no embedded model"),
        (lambda o, f: ["quickstart", "--ask", " "], "the question is empty"),
        (lambda o, f: ["fit", "--nonsense"], "No such option"),
        (lambda o, f: ["mcp", o.parent, "--pool", POOL], "holds no policy"),
        (lambda o, f: ["mcp", f, "--pool", "openai:gpt-4o"], "openai:gpt-4o cannot be made: Missing credentials"),
        (lambda o, f: ["mcp", f, "--pool", POOL, "--prices", "1/2"], "--prices needs one in/out pair"),
        (lambda o, f: ["mcp", f, "--pool", "small=,large=openai:gpt-4o"], "each NAME=MODEL or MODEL, no name twice"),
        (lambda o, f: ["mcp", f, "--pool", "small=gpt"], "'gpt' is no embedded model"),
        (lambda o, f: ["mcp", f, "--pool", "small=nobody:gpt"], "nobody:gpt cannot be made: Unable to infer"),
        (lambda o, f: ["mcp", f], "Missing option '--pool'"),
        (lambda o, f: ["mcp", f, "--pool", POOL, "--transport", "smoke"], "'smoke' is not one of"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(outcomes, folder, arguments, message):
    done = cascade(*arguments(outcomes, folder), OPENAI_API_KEY="", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (outcomes.parent / "p").exists()


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("small=openai:gpt-a,large=openai:gpt-c", "missing: medium"),
        ("openai:gpt-a,openai:gpt-b,openai:gpt-c", "not in the policy: openai:gpt-a"),
    ],
)
def test_the_pool_of_a_server_is_the_policys(folder, pool, message):
    done = cascade("mcp", folder, "--pool", pool, OPENAI_API_KEY="sk-secret")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.enable_socket
def test_a_taken_port_is_told(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["--pool", POOL, "--transport", "http", "--port", port]
        done = cascade("mcp", folder, *arguments, OPENAI_API_KEY="sk-secret")
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_is_named(folder):
    without = "import sys; sys.modules['mcp'] = None\nfrom cascade_cli.main import run; run()"
    command = [sys.executable, "-c", without, "mcp", str(folder), "--pool", POOL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert done.stderr == 'cascade: The MCP server needs mcp: pip install "cascade-components[mcp]"\n'
    assert done.stdout == ""


@pytest.mark.parametrize("command", [[], ["quickstart"], ["fit"], ["evaluate"], ["import-cre"], ["mcp"]])
def test_every_command_explains_itself(command):
    done = cascade(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
