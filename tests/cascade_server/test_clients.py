"""Real clients of a real process: OpenAI's SDKs, LangChain's client, curl; and how the process ends."""

import json
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

import cascade_components as cc
from tests.cascade_server.conftest import COMMAND, NAMES, POOL, auntil, body, until
from tests.cascade_server.test_chat import CALL, WEATHER
from tests.openai_server import Reply

pytestmark = pytest.mark.enable_socket

KEY = "sk-house"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
MESSAGES = body()["messages"]
JAVASCRIPT = Path(__file__).parent / "javascript" / "client.mjs"


@pytest.fixture(scope="module")
def folder(fit_to, tmp_path_factory):
    return fit_to(tmp_path_factory.mktemp("served") / "policy")


@pytest.fixture(scope="module")
def url(run_gateway, folder, running_server, tmp_path_factory):
    """Of a gateway with a pool and keys in files."""
    models = [
        f"  {name}: {{model: 'openai:gpt-{name}', base_url: '{running_server.url}', price: {{input: 1, output: 2}}}}"
        for name in NAMES
    ]
    pool, keys = (tmp_path_factory.mktemp("files") / name for name in ("pool.yaml", "keys"))
    pool.write_text("\n".join(["models:", *models]))
    keys.write_text(f"# of the house\n{KEY}\n")
    with run_gateway(folder, "--pool", str(pool), "--api-keys-from", str(keys), "--watch", "0") as (url, _):
        yield url


@pytest.fixture
def sdk(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_openais_sdk(sdk, server):
    raw = sdk.chat.completions.with_raw_response.create(model="cascade", messages=MESSAGES)
    answer = raw.parse()
    assert answer.choices[0].message.content == "gpt-large here"
    assert answer.usage.total_tokens == 10
    assert answer.usage.cascade["path"] == ["large"]
    assert answer.usage.cascade["cost_usd"] == pytest.approx(7e-6 + 6e-6)
    assert raw.headers["x-cascade-model"] == "large"
    wanted = {"model": "cascade:0.9", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(sdk.chat.completions.create(**wanted))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).endswith(" here")
    assert chunks[-1].usage.cascade["cost_usd"] > 0
    assert next(iter(sdk.models.list())).id == "cascade"
    server.replies.update({f"gpt-{name}": Reply(calls=(("weather", {"city": "Oslo"}),)) for name in NAMES})
    called = sdk.chat.completions.create(model="cascade", messages=MESSAGES, tools=[WEATHER])
    assert called.choices[0].finish_reason == "tool_calls"
    # As agents do: the message goes back as it came.
    back = [*MESSAGES, called.choices[0].message, {"role": "tool", "tool_call_id": CALL["id"], "content": "rain"}]
    server.forget()
    assert sdk.chat.completions.create(model="cascade", messages=back, tools=[WEATHER]).choices[0].message.content


def test_openais_sdk_parses_structures(sdk, server):
    class Rain(BaseModel):
        mm: int

    server.replies["gpt-large"] = Reply('{"mm":3}')
    answer = sdk.chat.completions.parse(model="cascade", messages=MESSAGES, response_format=Rain)
    assert answer.choices[0].message.parsed == Rain(mm=3)


def test_openais_sdk_knows_the_errors(url, sdk, server):
    with pytest.raises(openai.NotFoundError, match="model_not_found"):
        sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        sdk.chat.completions.create(model="cascade", messages=MESSAGES, temperature=3)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-other").models.list()
    server.replies.update({f"gpt-{name}": Reply("a b c", breaks_after=2) for name in NAMES})
    with pytest.raises(openai.APIError, match="after part of its answer"):
        list(sdk.chat.completions.create(model="cascade", messages=MESSAGES, stream=True))


async def test_langchains_client(url, server):
    model = ChatOpenAI(model="cascade", base_url=f"{url}/v1", api_key=KEY, max_retries=0, stream_usage=True)
    message = await model.ainvoke("sums question q0")
    assert message.text == "gpt-large here"
    assert message.usage_metadata["total_tokens"] == 10
    chunks = [chunk async for chunk in model.astream("sums question q0")]
    assert "".join(chunk.text for chunk in chunks) == "gpt-large here"
    assert len([chunk for chunk in chunks if chunk.text]) == 2
    server.replies["gpt-large"] = Reply(calls=(("weather", {"city": "Oslo"}),))
    called = await model.bind_tools([WEATHER], tool_choice="weather").ainvoke("sums question q0")
    assert called.tool_calls[0]["args"] == {"city": "Oslo"}


def test_curl(url, server):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    command = [curl, "-sN", f"{url}/v1/chat/completions", "-H", f"Authorization: Bearer {KEY}"]
    done = subprocess.run([*command, "-d", json.dumps(body(stream=True))], capture_output=True, text=True, timeout=60)
    *chunks, last = [line for line in done.stdout.splitlines() if line]
    assert last == "data: [DONE]"
    assert [json.loads(chunk[6:])["choices"][0]["delta"].get("content") for chunk in chunks] == [
        "gpt-large",
        " here",
        None,
    ]


@pytest.fixture(scope="module")
def openai_for_node():
    """The openai package for Node, fetched once."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    from platformdirs import user_cache_path

    home = user_cache_path("cascade-components") / "openai-javascript"
    if not (home / "node_modules" / "openai").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", "openai@6"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip("the openai package for Node cannot be fetched")
    return node, home


def test_openais_javascript_sdk(url, server, openai_for_node):
    node, home = openai_for_node
    script = shutil.copy(JAVASCRIPT, home)
    done = subprocess.run([node, script, f"{url}/v1", KEY], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["text"], found["streamed"]) == ("gpt-large here", "gpt-large here")
    assert (found["model"], found["path"]) == ("large", ["large"])
    assert found["models"][0] == "cascade"
    assert found["refused"] == {"status": 404, "code": "model_not_found", "kind": "NotFoundError"}


async def test_a_client_that_hangs_up_cancels_the_wrapped_call(url, server):
    server.replies["gpt-large"] = Reply("late", wait_s=30)
    async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as client:
        for stream in (False, True):
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=body(stream=stream), timeout=0.5)

        async def both_are_gone():
            text = (await client.get("/metrics")).text
            return "in_flight 0.0" in text and 'status="gone"} 2.0' in text

        await auntil(both_are_gone, 10)


def test_it_ends_gracefully_and_reloads_on_a_hangup(run_gateway, folder, fit_to, tmp_path, server):
    """One process, for each takes seconds to start."""
    served = shutil.copytree(folder, tmp_path / "policy")
    cheap = fit_to(tmp_path / "cheap", cost_weight=1000.0)
    with (
        run_gateway(served, "--watch", "0", "--api-keys-from", "HOUSE_KEYS") as (url, process),
        httpx.Client(base_url=url, headers=AUTHORIZED) as client,
    ):
        cc.CascadePolicy.load(cheap).save(served)
        process.send_signal(signal.SIGHUP)
        until(lambda: _ask(client).headers["x-cascade-model"] == "small")
        server.replies["gpt-small"] = Reply("one two three", wait_s=1.5)
        answers = []
        asking = [threading.Thread(target=lambda: answers.append(_ask(client)))]
        asking.append(threading.Thread(target=lambda: answers.append(_ask(client, stream=True))))
        for thread in asking:
            thread.start()
        until(lambda: len(server.bodies) >= 2 and server.bodies[-1]["model"] == "gpt-small")
        time.sleep(0.3)
        process.terminate()
        for thread in asking:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]
        process.wait(20)
        assert "Traceback" not in process.stderr.read()
        with pytest.raises(httpx.ConnectError):
            _ask(client)


# — bad input —


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{missing}", "--pool", POOL], "holds no policy"),
        (["{folder}", "--pool", "small=openai:gpt-small"], "missing: medium, large"),
        (["{folder}", "--pool", "{missing}.yaml"], "There is no file"),
        (["{folder}", "--pool", "{pool}"], "is no valid YAML"),
        (["{folder}", "--pool", POOL, "--port", "{port}"], "the port is in use"),
        (["{folder}", "--pool", POOL, "--api-keys-from", "NOBODYS_KEYS"], "NOBODYS_KEYS is neither a file"),
        (["{folder}", "--pool", POOL, "--prices", "1/2"], "--prices needs one in/out pair"),
        (["{folder}", "--pool", "{pool}", "--prices", "1/2"], "has a price beside each model"),
        (["{folder}", "--pool", POOL, "--name", "a:b"], "a name without a colon"),
        (["{folder}", "--pool", "{keyless}"], "MISSING_KEY is not set"),
    ],
)
def test_bad_input_is_one_line(arguments, message, folder, running_server, tmp_path, monkeypatch, capfd):
    from cascade_cli.main import run

    (tmp_path / "pool.yaml").write_text("models: [")
    keyless = [f"  {name}: {{model: 'openai:x', api_key_env: MISSING_KEY}}" for name in NAMES]
    (tmp_path / "keyless.yaml").write_text("\n".join(["models:", *keyless]))
    places = {
        "folder": folder,
        "missing": tmp_path / "missing",
        "pool": tmp_path / "pool.yaml",
        "keyless": tmp_path / "keyless.yaml",
        "port": running_server.server_port,
    }
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    given = [argument.format(**places) for argument in arguments]
    monkeypatch.setattr("sys.argv", ["cascade", "serve", *given, *([] if "--port" in given else ["--port", "0"])])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


def test_help_names_what_it_takes(environment):
    done = subprocess.run([*COMMAND, "--help"], env={**environment, "COLUMNS": "200"}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--max-concurrency" in done.stdout


def _ask(client, stream=False):
    return client.post("/v1/chat/completions", json=body(stream=stream), timeout=30)
