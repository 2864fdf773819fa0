"""An OpenAI-compatible server on loopback that fails by a schedule, and keeps books on what it served.

A process of its own: what it holds is not mistaken for what its clients hold. `python -m tests.chaos.server SEED
DRIP_S` tells its port in a line, and ends with its standard input.
"""

import asyncio
import itertools
import json
import socket
import struct
import sys
from contextlib import suppress

from tests.chaos.answers import deltas, digest, message, question_of
from tests.chaos.faults import Fault, chance

ALIASES = {"gpt-4o-mini": "small", "gpt-4.1-mini": "medium", "gpt-4o": "large"}
"""LlamaIndex's client knows the window of these only."""

STATUS = {Fault.LIMITED: 429, Fault.LIMITED_FOR: 429, Fault.BROKEN: 500, Fault.UNAVAILABLE: 503}
SLOW_S = 0.15
_ENDING = {Fault.RESET, Fault.DOWN, Fault.HALF, Fault.HALF_RESET}


class GoneError(Exception):
    """The client went away before it had its answer."""


class Books:
    """What was served, request by request, until somebody takes the page."""

    def __init__(self, seed, drip_s):
        self.seed = seed
        self.drip_s = drip_s
        self.open = 0
        """Requests that are being answered."""
        self.connections = 0
        self._records = []
        self._attempts = {}
        self._numbers = itertools.count(1)

    def enter(self, body):
        """Open a request's record; say what becomes of it."""
        question, model = question_of(body), ALIASES.get(body["model"], body["model"])
        attempt = self._attempts[question, model] = self._attempts.get((question, model), -1) + 1
        found = chance(self.seed, question, model, attempt)
        record = {
            "number": next(self._numbers),
            "question": question,
            "model": model,
            "fault": found.fault.value,
            "weak": found.weak,
            "stream": bool(body.get("stream")),
            "usage": [found.input_tokens, found.output_tokens],
            "end": "open",
        }
        self._records.append(record)
        return record, found

    def take(self):
        """Tear out the page."""
        page = {"records": self._records, "open": self.open, "connections": self.connections}
        self._records, self._attempts = [], {}
        return page


class Connection:
    """One client's connection."""

    def __init__(self, books, reader, writer):
        self.books = books
        self.reader = reader
        self.writer = writer

    async def serve(self):
        """Answer one request after the other, until the client or a fault ends it."""
        while True:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = next((line for line in head.split("\r\n") if line.lower().startswith("content-length:")), ":0")
            data = await self.reader.readexactly(int(length.split(":")[1]))
            if head.startswith("GET"):
                page = {"open": self.books.open, "connections": self.books.connections}
                found = self.books.take() if "/books " in head else page
                await self.whole(200, "application/json", json.dumps(found))
            elif not await self.answer(json.loads(data)):
                return

    async def answer(self, body):
        """Answer a chat completion; say whether the connection lives on."""
        record, found = self.books.enter(body)
        self.books.open += 1
        try:
            alive = await self.injected(body, record, found)
        except (ConnectionError, GoneError):
            record["end"] = "gone"
            raise
        finally:
            self.books.open -= 1
        record["end"] = "whole"
        return alive

    async def injected(self, body, record, found):
        """Do to a request what its chance says."""
        fault = found.fault
        if fault is Fault.HANG:
            await self.pause(3600)
        if fault is Fault.SLOW:
            await self.pause(SLOW_S)
        if fault in STATUS:
            extra = "Retry-After: 1\r\n" if fault is Fault.LIMITED_FOR else ""
            await self.whole(STATUS[fault], "application/json", '{"error": {"message": "out of order"}}', extra)
        elif fault in (Fault.RESET, Fault.DOWN):
            if fault is Fault.RESET:
                await self.send(b"HTTP/1.1 200 OK\r\nContent-Type: applic")
            self.reset()
        elif fault is Fault.WRONG_TYPE:
            await self.whole(200, "text/html", "<html><body>The gateway is being restarted.</body></html>")
        elif fault is Fault.EMPTY_BODY:
            await self.whole(200, "text/event-stream" if record["stream"] else "application/json", "")
        else:
            said = message(
                body,
                record["number"],
                weak=found.weak,
                empty=fault is Fault.EMPTY_ANSWER,
                huge=fault is Fault.HUGE,
            )
            record["text"] = digest(said.get("content") or "")
            await (self.stream if record["stream"] else self.completion)(body, record, found, said)
        return fault not in _ENDING and (record["stream"] or fault is not Fault.CUT)

    async def completion(self, body, record, found, said):
        """An answer in one piece."""
        choice = {"index": 0, "finish_reason": _finish(said), "message": said}
        text = json.dumps({**_frame(body, record), "choices": [choice], "usage": _usage(found)})
        stop = int(len(text) * found.fraction)
        if found.fault in (Fault.HALF, Fault.HALF_RESET, Fault.CUT):
            await self.send(_head(200, "application/json", f"Content-Length: {len(text)}\r\n") + text[:stop].encode())
            self.reset(found.fault is Fault.HALF_RESET)
        elif found.fault is Fault.HALF_ERROR:
            await self.whole(200, "application/json", '{"error": {"message": "the engine died"}}')
        elif found.fault is Fault.DRIP:
            await self.send(_head(200, "application/json", f"Content-Length: {len(text)}\r\n"))
            for piece in _pieces(text, 8):
                await self.pause(self.books.drip_s)
                await self.send(piece.encode())
        else:
            await self.whole(200, "application/json", text[:stop] if found.fault is Fault.MALFORMED else text)

    async def stream(self, body, record, found, said):
        """An answer bit by bit."""
        frame = {**_frame(body, record), "object": "chat.completion.chunk"}
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas(said)]
        choices.append({"index": 0, "delta": {}, "finish_reason": _finish(said)})
        stop = max(1, int(len(choices) * found.fraction)) if found.fault in _STOPPING else len(choices)
        await self.send(_head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked\r\n"))
        for choice in choices[:stop]:
            if found.fault is Fault.DRIP:
                await self.pause(self.books.drip_s)
            await self.event({**frame, "choices": [choice]})
        if stop < len(choices):
            if found.fault in (Fault.HALF, Fault.HALF_RESET):
                self.reset(found.fault is Fault.HALF_RESET)
                return
            if found.fault is Fault.HALF_ERROR:
                await self.event({"error": {"message": "the engine died", "code": 500}})
            if found.fault is Fault.MALFORMED:
                await self.chunk('data: {"id": "1", "choices": [{"ind\n\n')
        else:
            if (body.get("stream_options") or {}).get("include_usage"):
                await self.event({**frame, "choices": [], "usage": _usage(found)})
            if found.fault is not Fault.UNDONE:
                await self.chunk("data: [DONE]\n\n")
        await self.send(b"0\r\n\r\n")

    # — bytes —

    async def whole(self, status, kind, text, extra=""):
        data = text.encode()
        await self.send(_head(status, kind, f"Content-Length: {len(data)}\r\n{extra}") + data)

    async def event(self, data):
        await self.chunk(f"data: {json.dumps(data)}\n\n")

    async def chunk(self, text):
        data = text.encode()
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()
        if self.reader.at_eof():
            raise GoneError

    async def pause(self, seconds):
        """Wait, unless the client goes away."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), seconds)
            raise GoneError

    def reset(self, wanted=True):
        """Send an RST instead of the FIN that comes at the end anyway."""
        if not wanted:
            return
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


_STOPPING = {Fault.HALF, Fault.HALF_RESET, Fault.HALF_ERROR, Fault.MALFORMED, Fault.CUT}


def _head(status, kind, extra):
    return f"HTTP/1.1 {status} Chaos\r\nContent-Type: {kind}\r\n{extra}\r\n".encode()


def _frame(body, record):
    return {"id": str(record["number"]), "object": "chat.completion", "created": 1, "model": body["model"]}


def _finish(said):
    return "tool_calls" if said.get("tool_calls") else "stop"


def _usage(found):
    counts = {"prompt_tokens": found.input_tokens, "completion_tokens": found.output_tokens}
    return {**counts, "total_tokens": sum(counts.values())}


def _pieces(text, count):
    size = -(-len(text) // count)
    return [text[start : start + size] for start in range(0, len(text), size)]


async def main(seed, drip_s):
    """Serve until the standard input ends."""
    books = Books(seed, float(drip_s))

    async def connected(reader, writer):
        books.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, GoneError):
                await Connection(books, reader, writer).serve()
        finally:
            books.connections -= 1
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
