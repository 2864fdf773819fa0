"""What a process of its own costs: seconds until something is done, and memory."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

_MEASURE = """
import json, time
began, spent = time.perf_counter(), time.process_time()
{code}
took, used = time.perf_counter() - began, time.process_time() - spent
resident = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps({{"s": took, "cpu_s": used, "mb": int(resident) / 1024}}))
"""


def measured(code: str, *, times: int = 3) -> dict[str, float]:
    """Run code in new processes: medians of `s` (wall), `cpu_s` and `mb` (resident, at its end)."""
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _MEASURE.format(code=code)],
                capture_output=True,
                text=True,
                check=True,
                env=environment(),
            ).stdout.splitlines()[-1]
        )
        for _ in range(times)
    ]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def environment() -> dict[str, str]:
    """Of a process that finds what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]])}
