"""A fitted policy of three scripted models behind a gateway: in this process, and as a process of its own."""

import asyncio
import os
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest

import cascade_components as cc
from cascade_server import GatewaySettings, create_app
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.toy import make_rows, toy_encoder

COMMAND = [sys.executable, "-c", "from cascade_cli.main import run; run()", "serve"]
NAMES = ("small", "medium", "large")
POOL = ",".join(f"{name}=openai:gpt-{name}" for name in NAMES)


def body(text="sums question q0", **changes):
    """A request."""
    return {"model": "cascade", "messages": [{"role": "user", "content": text}], **changes}


def until(check, seconds=60):
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


async def auntil(check, seconds=60):
    """`until`, of an async function."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def fitted():
    """Starts with small, which is gated, for sums and code, and with medium for poems."""
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, retention=0.97)


@pytest.fixture(scope="session")
def ungated():
    """Nothing is judged: small for sums, others for the rest."""
    return cc.fit(make_rows(), encoder=toy_encoder, clusters=3, quality=None, retention=0.97)


@pytest.fixture
def pool(server):
    return {name: server.client(f"gpt-{name}") for name in NAMES}


@asynccontextmanager
async def asking(app):
    """A client of an application in this process."""
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    async with app.router.lifespan_context(app), client:
        yield client


@pytest.fixture
async def client(fitted, pool):
    async with asking(create_app(fitted, pool, GatewaySettings(expose_pool=True))) as found:
        yield found


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A sentence-transformers model that loads at once."""
    return str(make_sentence_transformer(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="session")
def fit_to(encoder):
    """Fit a policy that asks the strongest model, or the cheapest, and save it."""

    def fit_to(folder, cost_weight=0.0):
        cc.fit(make_rows(60), encoder=encoder, clusters=2, quality=None, cost_weight=cost_weight).save(folder)
        return folder

    return fit_to


@pytest.fixture(scope="session")
def environment(running_server):
    return {
        **os.environ,
        "OPENAI_BASE_URL": running_server.url,
        "OPENAI_API_KEY": "sk-secret",
        "HOUSE_KEYS": "sk-house",
    }


@pytest.fixture(scope="session")
def run_gateway(environment):
    """Run `cascade serve`; gives its address and its process."""

    @contextmanager
    def run(folder, *arguments):
        pool = [] if "--pool" in arguments else ["--pool", POOL]
        command = [*COMMAND, str(folder), *pool, "--port", "0", *arguments]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        with process:
            try:
                told = next((line for line in process.stderr if "http://" in line), "")
                url = re.search(r"http://\S+", told)[0].removesuffix("/v1")
                until(lambda: httpx.get(f"{url}/ready").status_code == 200)
                yield url, process
            finally:
                process.kill()

    return run
