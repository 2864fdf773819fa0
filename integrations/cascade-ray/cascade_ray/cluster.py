"""The Ray cluster that does the work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def the_ray() -> ModuleType:
    """Ray, if it is installed.

    Raises:
        ImportError: It is not; the message names the extra.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        msg = 'Work on a cluster needs the extra [ray]: pip install "cascade-components[ray]"'
        raise ImportError(msg) from None
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Within it, Ray is connected to a cluster.

    Args:
        address: `host:port`, `ray://host:port`, `auto` (the one that runs on this machine) or `local` (one of this
            process's own, which ends with it). None: `auto`, and `local` where none runs. A connection that is there
            already is used as it is.

    Raises:
        ImportError: Ray is not installed.
        OSError: There is no cluster at the address.
    """
    ray = the_ray()
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="warning", configure_logging=True, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        msg = f"There is no Ray cluster at {address}: {' '.join(str(error).split())[:300]}"
        raise OSError(msg) from error
    try:
        # Ray tells of lost workers on standard output, where a program reads its result.
        with contextlib.redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def quiet(dataset: Any) -> Any:
    """The dataset without Ray Data's own progress bars and announcements: the driver shows its own."""
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset


def cpus(ray: ModuleType) -> int:
    """CPUs of the cluster, one at least."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def gpus_of(ray: ModuleType) -> float:
    """GPUs of the cluster."""
    return float(ray.cluster_resources().get("GPU", 0))


def nodes(ray: ModuleType) -> int:
    """Machines of the cluster."""
    return sum(bool(node["Alive"]) for node in ray.nodes())
