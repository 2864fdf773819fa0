"""The server as its users have it: a process of its own, and its books."""

import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60


class Server:
    """A running server."""

    def __init__(self, port):
        self.host = f"http://127.0.0.1:{port}"
        self.url = f"{self.host}/v1"

    def state(self):
        """How many requests are being answered, and how many connections are open (this one apart)."""
        found = self._get("state")
        return found["open"], found["connections"] - 1

    def idle(self):
        """Wait until no request is being answered; say whether that came about."""
        return settles(lambda: self.state()[0] == 0)

    def books(self):
        """The records of all requests since the last time."""
        return self._get("books")["records"]

    def _get(self, path):
        with urllib.request.urlopen(f"{self.host}/{path}", timeout=PATIENCE_S) as answer:
            return json.load(answer)


def settles(settled, every_s=0.02):
    """Whether something comes about within a patient while."""
    end = time.monotonic() + PATIENCE_S
    while not settled():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


@contextmanager
def serving(seed, *, drip_s=0.02):
    """A server that runs; `drip_s` is between the pieces of an answer that drips."""
    command = [sys.executable, "-m", "tests.chaos.server", str(seed), str(drip_s)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(PATIENCE_S)
