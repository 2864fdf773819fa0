"""How late a sleep of a millisecond ends on an event loop; run by itself, on one that has nothing else to do.

Beside a busy process it tells how much of that one's lag is the machine's: there is no lock to wait for here.
"""

import asyncio
import json
import sys
import time


async def lags(seconds: float) -> list[float]:
    """How late each of many sleeps was, in milliseconds."""
    found = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await asyncio.sleep(0.001)
        found.append(1000 * (time.perf_counter() - began) - 1)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(lags(float(sys.argv[1])))))
