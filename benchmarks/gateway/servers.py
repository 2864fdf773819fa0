"""The processes: two backends, LiteLLM's proxy in an environment of its own, and our gateway, all on loopback."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from environments import interpreter
from load import KEY, Target

LITELLM = "litellm[proxy]==1.108.7"
START_SECONDS = 300
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """One process that answers."""

    target: Target
    process: subprocess.Popen[str]

    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds, its own threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def servers(folder: Path, policies: dict[str, Path]) -> Iterator[list[Server]]:
    """Start them: the first backend comes first, then LiteLLM's proxy, then a gateway for each policy.

    Args:
        folder: For configurations.
        policies: What a gateway is called, and its policy's folder.
    """
    with ExitStack() as stack:
        backends = [stack.enter_context(_backend()) for _ in range(2)]
        ports = [backend.target.port for backend in backends]
        found = [backends[0], stack.enter_context(_litellm(folder, ports))]
        found += [stack.enter_context(_ours(folder, ports, name, path)) for name, path in policies.items()]
        yield found


@contextmanager
def _backend() -> Iterator[Server]:
    command = [sys.executable, str(Path(__file__).with_name("backend.py"))]
    with _process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(Target("direct", int(process.stdout.readline()), "model"), process)


@contextmanager
def _litellm(folder: Path, ports: list[int]) -> Iterator[Server]:
    """Two deployments of one model, in turn at random: the proxy's default."""
    entries = [
        f"  - model_name: cascade\n    litellm_params: {{model: openai/model-{port}, "
        f"api_base: 'http://127.0.0.1:{port}/v1', api_key: none}}"
        for port in ports
    ]
    config = folder / "litellm.yaml"
    config.write_text("\n".join(["model_list:", *entries, "litellm_settings: {num_retries: 0}"]), encoding="utf-8")
    # As LiteLLM's own advice for production has it.
    extra = {"LITELLM_MASTER_KEY": KEY, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    program = interpreter("litellm-proxy", LITELLM).with_name("litellm")
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port"]
    port = _free_port()
    with _process([*command, str(port)], extra) as process:
        _wait(process, f"http://127.0.0.1:{port}/health/liveliness")
        yield Server(Target("LiteLLM's proxy", port, "cascade"), process)


@contextmanager
def _ours(folder: Path, ports: list[int], name: str, policy: Path) -> Iterator[Server]:
    models = [
        f"  {model}: {{model: 'openai:{model}', base_url: 'http://127.0.0.1:{port}/v1'}}"
        for model, port in zip(("small", "large"), ports, strict=True)
    ]
    pool = folder / "pool.yaml"
    pool.write_text("\n".join(["models:", *models]), encoding="utf-8")
    command = [sys.executable, "-c", "from cascade_cli.main import run; run()", "serve", str(policy)]
    port = _free_port()
    arguments = ["--pool", str(pool), "--api-keys-from", "GATEWAY_KEY", "--port", str(port)]
    with _process([*command, *arguments], {"GATEWAY_KEY": KEY, "OPENAI_API_KEY": "none"}) as process:
        _wait(process, f"http://127.0.0.1:{port}/ready")
        yield Server(Target(name, port, "cascade"), process)


@contextmanager
def _process(
    command: list[str], extra: dict[str, str] | None = None, *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **(extra or {})}
    out = subprocess.DEVNULL if stdout is None else stdout
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=out, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: subprocess.Popen[str], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    msg = f"{url} did not answer."
    raise RuntimeError(msg)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
