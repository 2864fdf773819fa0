"""What is left behind after calls: tasks, threads, sockets, files, objects, memory."""

import asyncio
import ctypes
import gc
import os
import stat
import threading
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter

from tests.chaos.serving import settles

_OF_A_CALL = {"Account", "AsyncRace", "Attempts", "Call", "Lane", "Pass", "Race", "Reach", "Request", "ServedCall"}
_OF_A_CALL |= {"Trace", "Turn", "Watch"}
"""Classes of the product whose objects live no longer than a call."""

_OURS = ("cascade_components.", "langchain_cascade.", "llama_index.llms.cascade.")
_KEPT = ("cascade-worker", "cascade-decision")
"""Threads of pools that are kept on purpose, by how their names begin: at most 16 each in a process."""

TICK_S = 0.01


def open_files():
    """How many files, sockets, pipes are open, by kind."""
    kinds = Counter()
    for path in list(Path("/dev/fd").iterdir()):
        with suppress(OSError):
            mode = os.fstat(int(path.name)).st_mode
            kinds["sockets" if stat.S_ISSOCK(mode) else "pipes" if stat.S_ISFIFO(mode) else "files"] += 1
    return kinds


def threads():
    """Names of the threads that run."""
    return Counter(thread.name for thread in threading.enumerate() if not thread.name.startswith(_KEPT))


def _call_objects():
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(kind.__name__ for kind in kinds if kind.__name__ in _OF_A_CALL and kind.__module__.startswith(_OURS))


class _Heap(ctypes.Structure):
    """What glibc's `mallinfo2` tells of all its arenas, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "pieces", "fast", "mapped_pieces", "mapped")]
    _fields_ += [(name, ctypes.c_size_t) for name in ("most", "fast_free", "used", "free", "at_the_end")]


def memory_mb():
    """Memory of this process in MB: in use, and resident.

    The difference is code, and what the allocator keeps though it is free: with many threads, pages that answers of
    10 MB have left half-empty. Without glibc nothing tells the two apart, and both are resident memory.
    """
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    used = resident
    with suppress(OSError, AttributeError):
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _Heap
        heap = mallinfo2()
        used = heap.used + heap.mapped
    return used / 2**20, resident / 2**20


class Before:
    """What there is before the calls, to be compared with what there is afterwards."""

    def __init__(self):
        self.threads, self.files, self.objects = threads(), open_files(), _call_objects()

    def left(self):
        """What there is now beside it, once all has settled."""
        gc.collect()
        settles(lambda: not (self._more_threads() or self._more_files()))
        return [f"{count} × {what}" for what, count in (self._more_threads() + self._more_files()).items()]

    def objects_left(self):
        """How many more objects of calls are alive, by class, once threads that were given up have ended."""
        settles(lambda: not _call_objects() - self.objects, every_s=0.2)
        return [f"{count} × {name}" for name, count in (_call_objects() - self.objects).items()]

    def _more_threads(self):
        return threads() - self.threads

    def _more_files(self):
        return open_files() - self.files


async def tasks_left(patience_s=5.0):
    """Tasks that still run beside the caller's own, once all has settled."""
    for _ in range(int(patience_s / 0.01)):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            break
        await asyncio.sleep(0.01)
    return [repr(task.get_coro()) for task in left]


@asynccontextmanager
async def lag_probe(found):
    """Measures how late the event loop is, in ms, tick by tick; adds it to a list."""

    async def probe():
        while True:
            start = perf_counter()
            await asyncio.sleep(TICK_S)
            found.append((perf_counter() - start - TICK_S) * 1000)

    task = asyncio.create_task(probe())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
