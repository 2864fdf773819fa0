"""A model that answers at once, behind OpenAI's API on loopback: as little work as can be, so that gateways show.

A process of its own: `python backend.py` tells its port in a line, and ends with its standard input.
"""

import asyncio
import json
import sys

TEXT = "The interest on the loan is its principal times the rate, and the payment is what is left of both. " * 2
USAGE = {"prompt_tokens": 40, "completion_tokens": 42, "total_tokens": 82}


def _whole(model: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def _stream(model: str) -> bytes:
    frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in TEXT.split())]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [{**frame, "choices": [choice]} for choice in choices] + [{**frame, "choices": [], "usage": USAGE}]
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


class Backend(asyncio.Protocol):
    """One client's connection."""

    answers = (_whole("model"), _stream("model"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            streamed = b'"stream":true' in body.replace(b" ", b"")
            self._transport.write(self.answers[streamed])


async def main() -> None:
    """Serve until the standard input ends."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
