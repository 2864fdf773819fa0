"""llama.cpp in this process: a loaded model is shared by everything here that asks for the same one."""

import http.client
import json
import math
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_MAGIC = b"GGUF"
_DATA = b"data: "
_DONE = b"data: [DONE]\n"
_LONGEST_SOCKET_PATH = 100
_SILENT = -1
_WAITING_CALLS = 32
"""Threads of the server that hold connections; they only wait, one answer is worked on at a time."""

_loaded: "weakref.WeakValueDictionary[tuple[Path, int, int], LoadedModel]" = weakref.WeakValueDictionary()
_loading = threading.Lock()


def usable_cores() -> int:
    """Number of processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load(path: Path, context_window: int, threads: int) -> "LoadedModel":
    """Return the model of a GGUF file, loaded unless something else in this process keeps the same one loaded.

    Args:
        path: The GGUF file.
        context_window: Tokens of prompt and answer together.
        threads: Processor threads used for one call.

    Raises:
        ValueError: If the file is no GGUF file, or the model was trained for a shorter context window.
        FileNotFoundError: If there is no such file.
        RuntimeError: If llama.cpp cannot load the file.
    """
    key = (path.resolve(), context_window, threads)
    with _loading:
        model = _loaded.get(key)
        if model is None:
            model = _loaded[key] = LoadedModel(*key)
    return model


class LoadedModel:
    """A model in memory, freed when its last user lets go of it or the interpreter ends.

    llama.cpp's server answers one call after another: each may use the whole context window, and no answer depends
    on what others ask at the same time. It is reached through a Unix socket in a folder that only this user may
    enter, so no port is opened. Where Python has no Unix sockets (Windows), it is a free port of the loopback
    interface. Either way it wants a random key.
    """

    def __init__(self, path: Path, context_window: int, threads: int) -> None:
        _require_gguf(path)
        self._key = (path, context_window, threads)
        self._headers = {"Authorization": f"Bearer {secrets.token_urlsafe()}", "Content-Type": "application/json"}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        folder, server = Path(tempfile.mkdtemp(prefix="cascade-")), list[Any]()
        self._close = weakref.finalize(self, _close, self._sockets, server, folder)
        server.append(_start(*self._key, folder=folder, secret=self._headers["Authorization"].split()[1]))
        self.address = server[0].listening_address
        self.ask("/slots")  # answered by the loop that works on calls: one that is closed before it runs never ends
        longest = self.ask("/props")["default_generation_settings"]["n_ctx"]
        if longest < context_window:
            self._close()
            raise ValueError(f"{path.name} was trained for {longest} tokens; context_window={context_window} is more")

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is the same model; in another process it is loaded there."""
        return load, self._key

    def ask(self, route: str, body: dict[str, Any] | None = None) -> Any:
        """Ask llama.cpp's server one thing and return its JSON answer.

        Raises:
            RuntimeError: If llama.cpp reports an error.
        """
        with closing(self._connect()) as connection, self._send(connection, route, body) as response:
            return json.loads(response.read())

    def count_tokens(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of the prompt that the chat template makes of the messages (in OpenAI's shape)."""
        count: int = self.ask("/v1/chat/completions/input_tokens", {"messages": messages})["input_tokens"]
        return count

    def stream(self, body: dict[str, Any], timeout_s: float | None = None) -> Iterator[dict[str, Any]]:
        """Stream the chunks of a chat completion; closing the iterator early ends the work on it.

        Raises:
            RuntimeError: If llama.cpp reports an error.
            TimeoutError: If the whole answer takes more than `timeout_s` seconds.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with closing(self._connect()) as connection:
            channel = connection.sock
            try:
                _limit(channel, deadline)
                with self._send(connection, "/v1/chat/completions", body) as response:
                    for line in iter(response.readline, b""):
                        if line == _DONE:
                            return
                        if line.startswith(_DATA):
                            yield _checked(json.loads(line.removeprefix(_DATA)))
                        _limit(channel, deadline)
            except TimeoutError as error:
                raise TimeoutError(f"the answer took more than {timeout_s} s") from error
        raise RuntimeError("llama.cpp broke the answer off")

    def _connect(self) -> http.client.HTTPConnection:
        """An open connection to the server."""
        address = urlsplit(self.address)
        if address.scheme == "unix":
            channel = socket.socket(socket.AF_UNIX)
            channel.connect(address.path)
        else:
            channel = socket.create_connection((address.hostname, address.port))
        self._sockets.add(channel)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = channel
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, route: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        """Send one request and return the response, once it is known not to be an error."""
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, route, data, self._headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            with response:
                _checked(json.loads(response.read()))
        return response


def _require_gguf(path: Path) -> None:
    """Raise unless the file is there and begins as a GGUF file does; llama.cpp itself would not say why it fails."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path} is not a GGUF file")


def _start(path: Path, context_window: int, threads: int, *, folder: Path, secret: str) -> Any:
    """Start llama.cpp's server on a model."""
    import xllamacpp  # here, because it takes a while and only whoever calls a model needs it

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context_window
    params.n_parallel = 1
    params.fit_params = False  # the declared context window, or an error
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = _WAITING_CALLS
    params.api_keys = [secret]
    params.ui = False
    params.warmup = False
    params.cache_ram_mib = 0  # no gigabytes of prompts kept for later
    params.verbosity = int(os.environ.get("CASCADE_LLAMA_VERBOSITY", _SILENT))
    address = str(folder / "llama.sock")
    if hasattr(socket, "AF_UNIX") and len(address) < _LONGEST_SOCKET_PATH:
        params.hostnames = [address]
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise RuntimeError(
            f"llama.cpp cannot load {path} (damaged file, unknown architecture or too little memory); "
            "CASCADE_LLAMA_VERBOSITY=3 in the environment makes it say more"
        ) from error


def _close(sockets: Iterable[socket.socket], server: list[Any], folder: Path) -> None:
    """Free the model. Calls in flight are cut first: the server would wait for them."""
    for channel in list(sockets):
        with suppress(OSError):
            channel.shutdown(socket.SHUT_RDWR)
    server.clear()
    shutil.rmtree(folder, ignore_errors=True)


def _limit(channel: socket.socket, deadline: float) -> None:
    """Let the next wait on the socket end at the deadline (monotonic seconds)."""
    if deadline < math.inf:
        channel.settimeout(max(deadline - time.monotonic(), 1e-3))


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, unless it reports an error."""
    if "error" in answer:
        raise RuntimeError(f"llama.cpp: {answer['error'].get('message', answer['error'])}")
    return answer
