"""Who comes in: keys, sizes, how many at a time."""

import asyncio

import httpx
import pytest

from cascade_server import GatewaySettings, create_app
from cascade_server.door import Keys
from cascade_server.errors import ApiError
from tests.cascade_server.conftest import asking, body, until
from tests.openai_server import Reply

pytestmark = pytest.mark.enable_socket

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer", "Bearer ", "Bearer sk-wrong", "Basic sk-one", "sk-one", "Bearer sk-one sk-two"]
)
def test_a_wrong_key(shown):
    keys = Keys(("sk-one", "sk-two"))
    with pytest.raises(ApiError) as caught:
        keys.check(shown)
    assert caught.value.status == 401
    assert "sk-" not in str(caught.value)


def test_right_keys():
    for shown in ("Bearer sk-one", "bearer sk-two", "Bearer  sk-two "):
        Keys(("sk-one", "sk-two")).check(shown)
    Keys(()).check(None)


async def test_keys_are_asked_for_where_clients_call(fitted, pool):
    settings = GatewaySettings(api_keys=("sk-one",))
    assert "sk-one" not in repr(settings)
    async with asking(create_app(fitted, pool, settings)) as client:
        for path in ("/v1/models", "/v1/models/cascade", "/v1/nowhere"):
            response = await client.get(path)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
        assert (await client.post(PATH, json=body())).status_code == 401
        for path in ("/health", "/ready", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code in (200, 503)
        client.headers["Authorization"] = "Bearer sk-one"
        assert (await client.post(PATH, json=body())).status_code == 200


async def test_a_body_that_is_too_long_is_not_read(fitted, pool):
    read = 0

    async def parts():
        nonlocal read
        for _ in range(100):
            read += 100
            yield b" " * 100

    async with asking(create_app(fitted, pool, GatewaySettings(max_request_bytes=1000))) as client:
        for content in (b" " * 1001, parts()):
            response = await client.post(PATH, content=content)
            assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        assert read < 10_000
        assert (await client.post(PATH, json=body())).status_code == 200


async def test_more_than_the_limit_at_a_time_are_told_to_wait(fitted, pool, server):
    server.replies["gpt-small"] = Reply("sure", wait_s=0.5)
    async with asking(create_app(fitted, pool, GatewaySettings(max_concurrency=2, retry_after_s=3))) as client:
        found = await asyncio.gather(*(client.post(PATH, json=body(stream=stream)) for stream in (True, False, True)))
        assert sorted(response.status_code for response in found) == [200, 200, 429]
        refused = next(response for response in found if response.status_code == 429)
        assert refused.headers["retry-after"] == "3"
        assert (await client.post(PATH, json=body())).status_code == 200


async def test_what_there_is_not(client):
    for response in (await client.get("/v1/nowhere"), await client.get(PATH)):
        assert response.status_code in (404, 405)
        assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": "a:b"}, {"name": " "}, {"max_request_bytes": 0}, {"max_concurrency": 0}, {"retry_after_s": 0}),
        *({"timeout_s": 0}, {"watch_s": -1}, {"watch_s": float("nan")}, {"api_keys": ("",)}),
    ],
)
def test_settings_out_of_range(changes):
    with pytest.raises(ValueError, match=f"GatewaySettings: {next(iter(changes))} must be"):
        GatewaySettings(**changes)


async def test_a_client_that_leaves_cancels_the_wrapped_call(fitted, pool, server):
    """Through ASGI itself, for no client of this process can leave."""
    server.replies["gpt-small"] = Reply("sure", wait_s=30)
    app = create_app(fitted, pool)
    for stream in (True, False):
        sent, left = [], asyncio.Event()
        request = httpx.Request("POST", f"http://gateway{PATH}", json=body(stream=stream))
        messages = iter([{"type": "http.request", "body": request.read()}])

        async def receive(messages=messages, left=left):
            if (message := next(messages, None)) is not None:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message, sent=sent):
            sent.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
        asked = len(server.bodies)
        async with asyncio.timeout(20):
            work = asyncio.create_task(app(scope, receive, send))
            await asyncio.to_thread(until, lambda asked=asked: len(server.bodies) > asked)
            left.set()
            await work
        assert sent == []
        assert app.state.seats.taken == 0
