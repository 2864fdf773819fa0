"""Writers of a policy's folder that are killed, or run out of disk; run by test_storage.py in a process of its own.

Each writer is a fork of this process, which does nothing else: a test process has threads, and cannot be forked.
"""

import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from cascade_components import atomic, storage

FILES = {atomic.__file__, storage.__file__}
OLD, NEW = 1.0, 2.0


def write(folder, number, size=2000):
    arrays = {"x": np.full(size, number)}
    storage.write_folder(folder, {"number": number}, dict.fromkeys(storage.GROUPS[:3], arrays))


def read(folder):
    """The number of the policy that lies there, whole; None: there is none."""
    try:
        stored = storage.read_folder(folder)
    except FileNotFoundError:
        return None
    number = stored.facts["number"]
    assert all((arrays["x"] == number).all() for arrays in stored.arrays.values())
    return number


def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def killed_at(line, work):
    """Whether a child that does the work was killed as it came to this line of ours, in the order of running."""

    def trace(frame, event, _):
        nonlocal line
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            line -= 1
            if line < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced():
        sys.settrace(trace)
        work()
        sys.settrace(None)

    _, status = os.waitpid(fork(traced), 0)
    return os.WIFSIGNALED(status)


def at_every_line(folder, allowed, first=0, step=4):
    """Kill writers at line after line; what is there afterwards is allowed, and the next writer clears up.

    A step of 1 takes a minute on a busy machine; two runs that start at different lines see most of them.
    """
    line, found = first, set()
    while killed_at(line, lambda: write(folder, NEW)):
        number = read(folder)
        assert number in allowed, (line, number)
        found.add(number)
        following = OLD if OLD in allowed else NEW
        write(folder, following)
        assert read(folder) == following
        assert len(list(folder.iterdir())) == 4
        if None in allowed:
            shutil.rmtree(folder)
        line += step
    assert found == allowed, found
    return line


def at_random(folder, seconds):
    """Kill writers that replace each other's policies while others read."""
    write(folder, OLD)
    numbers = random.Random(0)
    end, kills = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        writers = [fork(lambda: [write(folder, number) for number in (OLD, NEW) * 1000]) for _ in range(2)]
        pause = time.monotonic() + numbers.random() * 0.03
        while time.monotonic() < pause:
            assert read(folder) in (OLD, NEW)
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            kills += 1
        assert read(folder) in (OLD, NEW)
    write(folder, NEW)
    assert read(folder) == NEW
    assert len(list(folder.iterdir())) == 4
    return kills


def full_disk(folder, there):
    """Let writers have room for part of a policy only."""
    refused = 0
    for room in (0, 1, 4000, 16_000, 17_000):

        def work(room=room):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            try:
                write(folder, NEW)
            except OSError:
                os.kill(os.getpid(), signal.SIGTERM)

        _, status = os.waitpid(fork(work), 0)
        refused += os.WIFSIGNALED(status)
        if os.WIFSIGNALED(status):
            assert read(folder) == there
            assert (len(list(folder.iterdir())) == 4) if there else not folder.exists()
        else:
            assert read(folder) == NEW
            there = NEW
    return refused


if __name__ == "__main__":
    os.fsync = lambda _: None  # slow, and it matters where a machine dies, not where a process is killed
    place = Path(sys.argv[1])
    write(place / "there", OLD)
    there, none = at_every_line(place / "there", {OLD, NEW}), at_every_line(place / "none", {None, NEW}, 2)
    kills = at_random(place / "random", 1.0)
    write(place / "full", OLD)
    refused, refused_new = full_disk(place / "full", OLD), full_disk(place / "new", None)
    assert {path.name for path in place.iterdir()} == {"there", "none", "random", "full", "new"}
    sys.stdout.write(f"{there} {none} {kills} {refused} {refused_new}")
