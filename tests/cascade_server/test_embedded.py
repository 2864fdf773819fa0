"""The gateway over a real small model in this process."""

import json

import pytest

from cascade_local import embedded_pool
from cascade_server import create_app
from tests.cascade_server.conftest import asking, body
from tests.cascade_server.test_chat import PATH, events

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def pool():
    """One model under two names: it is the gateway that is tried."""
    from huggingface_hub import constants

    found = embedded_pool(["smollm2-135m"], max_tokens=12, threads=1)["smollm2-135m"]
    with pytest.MonkeyPatch.context() as patch:
        # In this process the network is blocked; the mirror is reached by one of pip's own.
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        found.get_token_ids("anything")
    return dict.fromkeys(("small", "medium", "large"), found)


async def test_a_real_model_answers_whole_and_streamed(ungated, pool):
    wanted = body("sums: what is 2 + 2?", temperature=0, logprobs=True)
    async with asking(create_app(ungated, pool)) as client:
        whole = (await client.post(PATH, json=wanted)).json()
        stream = await client.post(PATH, json={**wanted, "stream": True, "stream_options": {"include_usage": True}})
    *chunks, done = events(stream)
    assert done == "[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    choices = [choice for chunk in read for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == whole["choices"][0]["message"]["content"]
    assert len([choice for choice in choices if choice["delta"].get("content")]) > 3
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    counts = [
        {name: count for name, count in usage.items() if name.endswith("_tokens")}
        for usage in (whole["usage"], read[-1]["usage"])
    ]
    assert counts[0] == counts[1]
    assert counts[0]["completion_tokens"] > 3
    tokens = [token for choice in choices if choice["logprobs"] for token in choice["logprobs"]["content"]]
    assert len(tokens) == len(whole["choices"][0]["logprobs"]["content"])
