"""The real small models these tests talk to: fetched once into the user's cache, loaded once a session."""

import pytest
from huggingface_hub import constants

from cascade_local import ChatLocal


def _loaded(name, max_tokens):
    chat = ChatLocal(model=name, threads=1, max_tokens=max_tokens)
    with pytest.MonkeyPatch.context() as patch:
        # In this process the network is blocked; the mirror is reached by one of pip's own.
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        chat.get_token_ids("anything")
    return chat


@pytest.fixture(scope="session")
def chat():
    return _loaded("smollm2-135m", max_tokens=8)


@pytest.fixture(scope="session")
def larger_chat():
    return _loaded("qwen2.5-0.5b", max_tokens=64)
