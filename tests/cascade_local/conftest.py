"""The real small models these tests talk to: fetched once into the user's cache, loaded once a session."""

import subprocess
import sys

import pytest

from cascade_local import ChatLocal


def _fetched(name):
    """Fetch in a process of its own: in this one the tests block the network."""
    subprocess.run([sys.executable, "-c", f"import cascade_local; cascade_local.fetch({name!r})"], check=True)
    return name


def _chat(name, max_tokens):
    chat = ChatLocal(model=_fetched(name), threads=1, max_tokens=max_tokens)
    chat.get_token_ids("load")
    return chat


@pytest.fixture(scope="session")
def chat():
    return _chat("smollm2-135m", max_tokens=8)


@pytest.fixture(scope="session")
def larger_chat():
    return _chat("qwen2.5-0.5b", max_tokens=64)
