"""The peers, each in a virtual environment of its own, made when it is first asked for.

An environment sees this project's packages (torch alone is larger than all the rest) and adds the peer and what it
needs; where versions clash, the environment's come first.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

HOME = user_cache_path("cascade-components") / "latency-environments"
WORKERS = Path(__file__).with_name("workers")
INSTALL_SECONDS = 900
RUN_SECONDS = 900


@dataclass(frozen=True)
class Peer:
    """One peer, and who measures it."""

    name: str
    worker: str
    requirements: tuple[str, ...]


PEERS = (
    Peer("cre-router 0.6.3", "cre_router.py", ("cre-router==0.6.3",)),
    Peer("semantic-router 1.1.1", "semantic_router.py", ("semantic-router==1.1.1", "litellm")),
    Peer("RouteLLM 0.2.0", "route_llm.py", ("routellm==0.2.0",)),
    Peer("langchain-model-router 0.1.0", "model_router.py", ("langchain-model-router==0.1.0",)),
)


def measured(peer: Peer, *arguments: str) -> dict[str, Any]:
    """What the peer's worker reports: `rows` and the name of the `reference` among them; or `error`, in words."""
    try:
        python = _interpreter(peer)
        command = [str(python), str(WORKERS / peer.worker), *arguments]
        # Its own folder is not searched for imports, since workers are named after what they import.
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(WORKERS.parent), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_SECONDS, env=environment)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
        return {"error": lines[-1][:160] if lines else f"exit {error.returncode}"}
    except (subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:160]}
    return found


def _interpreter(peer: Peer) -> Path:
    home = HOME / peer.requirements[0]
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join((sys.version, *peer.requirements))
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    run = {"check": True, "capture_output": True, "text": True, "timeout": INSTALL_SECONDS}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], **run)
    packages = next(home.glob("lib/python*/site-packages"))
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, *peer.requirements], **run)
    stamp.write_text(wanted)
    return python
