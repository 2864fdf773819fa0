"""Asks a server over connections that stay open, as many at a time as is said, and takes the time of every answer."""

import asyncio
import itertools
import json
import time
from dataclasses import dataclass

KEY = "sk-loopback-2f9d4c81b6e7a305"
"""Every gateway asks for it."""

_NUMBERS = itertools.count(1)
_TOPICS = (
    "the interest on a loan of {} dollars",
    "a poem of {} lines about the sea",
    "a function that sorts {} numbers",
    "the boiling point of a liquid at {} metres",
)


@dataclass(frozen=True)
class Target:
    """Who is asked: a port of this machine, and a model there."""

    name: str
    port: int
    model: str


@dataclass(frozen=True)
class Load:
    """What came of asking."""

    seconds: list[float]
    """Of each answer."""
    took_s: float
    """All of them together."""


def question(number: int) -> str:
    """One of as many questions as there are numbers, of about 30 tokens."""
    topic = _TOPICS[number % len(_TOPICS)].format(number)
    return f"Explain {topic}, in {number % 7 + 2} steps, and say in a sentence why each of them is needed."


def ask(target: Target, requests: int, at_once: int, *, stream: bool = False) -> Load:
    """Ask a number of questions, no two of them the same.

    Raises:
        RuntimeError: An answer is no answer.
    """
    return asyncio.run(_ask(target, requests, at_once, stream=stream))


async def _ask(target: Target, requests: int, at_once: int, *, stream: bool) -> Load:
    todo, seconds = iter(range(requests)), list[float]()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        for _ in todo:
            request = _request(target, stream=stream)
            began = time.perf_counter()
            writer.write(request)
            await _read(reader)
            seconds.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return Load(seconds, time.perf_counter() - began)


def _request(target: Target, *, stream: bool) -> bytes:
    body = {"model": target.model, "messages": [{"role": "user", "content": question(next(_NUMBERS))}]}
    data = json.dumps(body | ({"stream": True} if stream else {})).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Authorization: Bearer {KEY}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def _read(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        msg = f"No answer but {head.splitlines()[0].decode()}."
        raise RuntimeError(msg)
    if b"transfer-encoding: chunked" not in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
