"""The faults are real: what plain clients make of each."""

import openai
import pytest
from langchain_openai import ChatOpenAI

from tests.chaos import faults
from tests.chaos.faults import ANSWERING, Fault, chance
from tests.chaos.invariants import _whole
from tests.chaos.serving import serving

pytestmark = pytest.mark.enable_socket

SEED = 5


@pytest.fixture(scope="module")
def server():
    with serving(SEED) as found:
        yield found


@pytest.fixture(scope="module")
def client(server):
    return ChatOpenAI(model="large", base_url=server.url, api_key="none", max_retries=0, timeout=20, stream_usage=True)


def question(fault):
    """One that has this fault, and no weak answer."""
    numbers = range(10_000)
    found = (one for one in numbers if (hit := chance(SEED, one, "large", 0)).fault is fault and not hit.weak)
    return next(one for one in found if one not in taken and not taken.add(one))


taken = set()
RAISES = {
    Fault.HANG: openai.APITimeoutError,
    Fault.RESET: openai.APIConnectionError,
    Fault.LIMITED: openai.RateLimitError,
    Fault.LIMITED_FOR: openai.RateLimitError,
    Fault.BROKEN: openai.InternalServerError,
    Fault.UNAVAILABLE: openai.InternalServerError,
    Fault.DOWN: openai.APIConnectionError,
}
"""Before anything of an answer has come; other faults raise something."""


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("fault", [one for one in Fault if one not in ANSWERING])
def test_a_fault_is_one(server, client, fault, way):
    asked = f"question #{question(fault)}"
    patience = {"timeout": 0.3} if fault is Fault.HANG else {}
    if fault is Fault.CUT and way == "stream":
        text = "".join(chunk.text for chunk in client.stream(asked))
        assert text.startswith("sure")
    else:
        with pytest.raises(RAISES.get(fault, Exception)) as raised:
            list(client.stream(asked, **patience)) if way == "stream" else client.invoke(asked, **patience)
        after = getattr(getattr(raised.value, "response", None), "headers", {}).get("retry-after")
        assert after == ("1" if fault is Fault.LIMITED_FOR else None)
    assert server.idle()
    record, *others = server.books()
    assert not others
    assert (record["fault"], record["stream"], _whole(record)) == (fault, way == "stream", False)


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("fault", [one for one in Fault if one in ANSWERING])
def test_an_answer_is_one(server, client, fault, way):
    asked, record = f"question #{question(fault)}", {}
    chunks = list(client.stream(asked)) if way == "stream" else [client.invoke(asked)]
    text = "".join(chunk.text for chunk in chunks)
    (record,) = server.books()
    usage = next(chunk.usage_metadata for chunk in chunks if chunk.usage_metadata)
    assert [usage["input_tokens"], usage["output_tokens"]] == record["usage"]
    assert _whole(record)
    assert text.count(f"m{record['number']}x") == {Fault.HUGE: 200, Fault.EMPTY_ANSWER: 0}.get(fault, 8)
    assert (len(text) > 10**7) is (fault is Fault.HUGE)


def test_the_schedule_is_the_seeds():
    drawn = [chance(0, number, "small", 0) for number in range(2000)]
    assert drawn == [chance(0, number, "small", 0) for number in range(2000)]
    assert drawn != [chance(1, number, "small", 0) for number in range(2000)]
    assert {one.fault for one in drawn} == set(Fault)
    assert all(one.fault is Fault.DOWN for one in drawn[: faults._STRETCH])
