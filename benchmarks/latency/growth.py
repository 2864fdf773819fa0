"""Calls of a saved policy in a process that does nothing else: memory must not grow with them.

python benchmarks/latency/growth.py POLICY CALLS
"""

import sys
from pathlib import Path

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from latency.fake_chat import FakeChat
from latency.timing import ANSWER, QUERY

MARKS = 8


def main() -> None:
    """Print memory while calls go on, each with a new query and a new answer."""
    policy, calls = cc.CascadePolicy.load(sys.argv[1]).warm_up(), int(sys.argv[2])
    pool = {name: FakeChat(model_name=name) for name in policy.models}
    model = CascadeChatModel(policy=policy, models=pool)
    print("\n## Memory of a process that serves\n\n| calls | MB |\n|--:|--:|", flush=True)
    for number in range(calls + 1):
        pool["small"].reply = f"{number} {ANSWER}"
        model.invoke(f"{number} {QUERY}")
        if number % (calls // MARKS) == 0:
            print(f"| {number:,} | {_resident_mb():.1f} |", flush=True)


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


if __name__ == "__main__":
    main()
