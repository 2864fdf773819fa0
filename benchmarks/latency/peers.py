"""The peers, each in a virtual environment of its own, and what their workers report."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import NotInstalledError, interpreter

WORKERS = Path(__file__).with_name("workers")
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
        python = interpreter(f"{peer.requirements[0]}-beside-us", *peer.requirements, shared=True)
        command = [str(python), str(WORKERS / peer.worker), *arguments]
        # Its own folder is not searched for imports, since workers are named after what they import.
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(WORKERS.parent), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_SECONDS, env=environment)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
        return {"error": lines[-1][:160] if lines else f"exit {error.returncode}"}
    except (NotInstalledError, subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:160]}
    return found
