"""What a gateway adds to a call: ours side by side with LiteLLM's proxy, in front of the same two loopback servers.

`python benchmarks/gateway` prints the table of docs/gateway.md. Every question is another one, so that no vector is
cached: our gateway embeds each, and judges the answer where the policy has a gate. In each round every server is
measured, one after the other; ratios are those within a round.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # what the benchmarks share

from load import Load, ask, question
from servers import LITELLM, Server, servers

import cascade_components as cc
from cascade_components.encoders import DEFAULT_ENCODER

Figures = dict[str, dict[str, list[float]]]
"""Server → figure → its value in each round."""


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200, help="in each round, of each server, one at a time")
    parser.add_argument("--at-once", type=int, default=16, help="clients, where throughput is measured")
    parser.add_argument("--modes", nargs="+", choices=["whole", "streamed"], default=["whole", "streamed"])
    parser.add_argument("--json", type=Path, help="write the figures, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        figures = {}
        with servers(folder, _policies(folder)) as found:
            for mode in given.modes:
                figures[mode] = measure(found, given, stream=mode == "streamed")
                print(f"\n### Answers {mode}\n\n{table(figures[mode])}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(figures), encoding="utf-8")


def _policies(folder: Path) -> dict[str, Path]:
    """A policy without and one with gates, for both of the encoders that are made for serving."""
    rows, found = list(_rows()), {}
    encoders = {"distilled": f"distilled:{DEFAULT_ENCODER}", "onnx": f"onnx:{DEFAULT_ENCODER}"}
    for encoder, spec in encoders.items():
        for kind, quality in (("ungated", None), ("gated", "embedding")):
            path = found[f"ours, {encoder}, {kind}"] = folder / f"{encoder}-{kind}"
            cc.fit(rows, encoder=spec, clusters=16, retention=0.95, quality=quality, progress=False).save(path)
    return found


def _rows() -> Iterator[dict[str, Any]]:
    """Made-up outcomes: the small model is right about the easier half of the topics."""
    draw = random.Random(0)
    for number in range(240):
        for model, share, cost in (("small", (0.9, 0.5, 0.8, 0.6)[number % 4], 0.001), ("large", 0.95, 0.01)):
            right = draw.random() < share
            manner = "Step by step: first" if right else "Perhaps it is"
            yield {
                "query_id": str(number),
                "query": question(-number - 1),
                "model": model,
                "output": f"{manner} {draw.randrange(9000)}, then {draw.randrange(9000)}.",
                "correct": float(right),
                "cost_usd": cost * (0.8 + 0.4 * draw.random()),
                "input_tokens": 30,
                "output_tokens": draw.randrange(20, 90),
            }


def measure(found: list[Server], given: argparse.Namespace, *, stream: bool) -> Figures:
    """Ask every server, round by round."""
    figures: Figures = {server.target.name: {} for server in found}
    for server in found:
        ask(server.target, 50, 4, stream=stream)
    for number in range(given.rounds):
        for server in found:
            print(f"round {number + 1} of {given.rounds}: {server.target.name}", file=sys.stderr)
            alone = ask(server.target, given.requests, 1, stream=stream)
            spent = server.cpu_s()
            together = ask(server.target, 2 * given.requests, given.at_once, stream=stream)
            cpu_ms = 1000 * (server.cpu_s() - spent) / (2 * given.requests)
            for name, value in _values(alone, together, cpu_ms).items():
                figures[server.target.name].setdefault(name, []).append(value)
    return figures


def _values(alone: Load, together: Load, cpu_ms: float) -> dict[str, float]:
    seconds = statistics.quantiles(alone.seconds, n=100)
    per_second = len(together.seconds) / together.took_s
    return {"p50": 1000 * seconds[49], "p99": 1000 * seconds[98], "per_second": per_second, "cpu_ms": cpu_ms}


def table(figures: Figures) -> str:
    """The figures as Markdown: medians, the spread over the rounds, and ratios to LiteLLM's proxy."""
    direct, theirs, *_ = figures
    heads = ["", "p50 added", "p99 added", "answers a second", "CPU a request"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, found in figures.items():
        cells = [name]
        for figure, unit in (("p50", " ms"), ("p99", " ms"), ("per_second", ""), ("cpu_ms", " ms")):
            value = _added(figures, direct, figure)
            mine, other = value(name), value(theirs)
            if name == direct and figure in ("p50", "p99"):
                cells.append(f"({statistics.median(found[figure]):.2f} ms)")
                continue
            ratios = [one / two for one, two in zip(mine, other, strict=True)]
            low, high = min(ratios), max(ratios)
            ratio = "" if name in (direct, theirs) else f": × {statistics.median(ratios):.2f} ({low:.2f}…{high:.2f})"
            cells.append(f"{statistics.median(mine):.4g}{unit}{ratio}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Ratios to {LITELLM}: median over the rounds (lowest…highest)."])


def _added(figures: Figures, direct: str, figure: str) -> Callable[[str], list[float]]:
    """What a server adds to asking the backend directly, round by round; throughput and CPU are not added."""
    base = figures[direct][figure] if figure in ("p50", "p99") else [0.0] * len(figures[direct][figure])
    return lambda name: [value - zero for value, zero in zip(figures[name][figure], base, strict=True)]


if __name__ == "__main__":
    main()
