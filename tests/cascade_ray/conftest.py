"""A Ray cluster of two nodes on this machine, and a scripted server that its workers ask."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cascade_cli.test_capture import KEY

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    address: str
    folder: Path
    """Of Ray's own files."""
    environment: dict
    mark: str

    def workers(self, title):
        """Ids of the cluster's processes of this title."""
        return _processes(self.mark, title)

    def run(self, code, folder, *arguments):
        """Start a program that drives the cluster."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="session")
def cluster():
    pytest.importorskip("ray")
    mark = f"cascade-{uuid.uuid4().hex}"
    # Not in pytest's folder: the path of a Unix socket has but 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    environment = {
        **os.environ,
        "CASCADE_TEST_CLUSTER": mark,
        "CAPTURE_KEY": KEY,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "RAY_AUTH_MODE": "disabled",  # else token files are written to the user's folder
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # else 15: on a busy machine they would come last
    }
    nodes = []
    try:
        nodes.append(_node(environment, "--head", "--port=0", f"--temp-dir={folder}", "--include-dashboard=false"))
        address = _until(lambda: (folder / "ray_current_cluster").read_text().strip(), nodes[0])
        nodes.append(_node(environment, f"--address={address}"))
        yield Cluster(address, folder, environment, mark)
    finally:
        _stop(mark)
        for node in nodes:
            node.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _processes(mark, title=""):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark.encode() in (process / "environ").read_bytes()
            if ours and title.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _stop(mark):
    """End all processes of the cluster: `ray stop` would end those of others, too."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in _processes(mark):
            with suppress(ProcessLookupError):
                os.kill(process, sign)
        end = time.monotonic() + 2
        while _processes(mark) and time.monotonic() < end:
            time.sleep(0.1)


def _node(environment, *arguments):
    ray = Path(sys.executable).with_name("ray")
    command = [ray, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _until(value, process, seconds=240):
    end = time.monotonic() + seconds
    while True:
        try:
            return value()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
