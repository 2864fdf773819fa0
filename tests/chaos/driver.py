"""Many callers at once: threads that call synchronously, and tasks of one event loop."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.callers import PATIENCE_S, aask, ask
from tests.chaos.outcome import Outcome


async def wave(pools, wishes, callers):
    """All wishes, by at most so many callers at once, half of them threads; one outcome for each."""
    found = {}
    sync, tasks = ([one for one in wishes if one.is_async is kind] for kind in (False, True))
    half = max(1, callers // 2)
    executor = ThreadPoolExecutor(half, thread_name_prefix="caller")
    loop = asyncio.get_running_loop()
    try:
        waiting = iter(tasks)

        async def caller():
            for one in waiting:
                found[one.number] = await aask(pools, one)

        threads = [loop.run_in_executor(executor, ask, pools, one) for one in sync]
        async with asyncio.TaskGroup() as group:
            for _ in range(half):
                group.create_task(caller())
        for done in itertools.chain.from_iterable(await asyncio.wait(threads, timeout=PATIENCE_S) if threads else []):
            if done.done():
                found[done.result().asked.number] = done.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return [found.get(one.number, Outcome(one)) for one in wishes]
