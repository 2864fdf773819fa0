"""What a decision costs: encoder, head, everything else, a cold start, memory, and the peers beside it.

    python benchmarks/overhead.py [--calls 200] [--only encoders,rest,start,growth,peers] [--also SPEC]

Everything is measured in one run, in turn, so that the ratios hold where the machine is busy; `cpu` is the processor
time of a call, which other programs disturb least. The peers install themselves when they are first measured.
"""

import argparse
import asyncio
import itertools
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from latency import peers, process
from latency.fake_chat import FakeChat
from latency.timing import ANSWER, QUERY, timed
from latency.world import make_policy

import cascade_components as cc
from cascade_components.encoders import (
    DEFAULT_ENCODER,
    DistilledEncoder,
    SentenceTransformerEncoder,
    encoder_from_spec,
)
from cascade_components.serving.call import ServedCall, Serving
from cascade_components.serving.turn import Turn


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind")
    parser.add_argument("--only", default="encoders,rest,start,growth,peers", help="which tables")
    parser.add_argument("--also", action="append", default=[], help="a further encoder, such as onnx:MODEL")
    options = parser.parse_args()
    tables: dict[str, Callable[[int], None]] = {
        "encoders": lambda calls: encoders(calls, options.also),
        "rest": rest,
        "start": lambda _: start(),
        "growth": lambda calls: growth(100 * calls),
        "peers": beside,
    }
    for name in options.only.split(","):
        tables[name](options.calls)


# — encoder and head —


@dataclass(frozen=True)
class Encoded:
    """A policy and texts that no cache has seen."""

    policy: cc.CascadePolicy
    numbers: "itertools.count[int]"

    def start(self) -> None:
        """Stage 1 on a new query."""
        cc.Cascade(self.policy).start(f"{next(self.numbers)} {QUERY}")

    def judge(self) -> None:
        """Stage 2 on a new answer to a query that was routed."""
        cascade = cc.Cascade(self.policy)
        trace = cascade.start(QUERY, route=cc.Route(cc.Plan("small", "large", 0.5), 0, 0.0, "gated"))
        cascade.judge(trace, cc.Answer(f"{next(self.numbers)} {ANSWER}", output_tokens=300))


def encoders(calls: int, also: Sequence[str]) -> None:
    """Stage 1 and Stage 2 by encoder, and Stage 1 where the vector is known."""
    kinds = {
        "torch, 32 bits": SentenceTransformerEncoder(),
        "onnx, 8 bits": SentenceTransformerEncoder(backend="onnx"),
        "distilled": DistilledEncoder(),
        **{spec: encoder_from_spec(spec) for spec in also},
    }
    made = {name: Encoded(make_policy(encoder).warm_up(), itertools.count()) for name, encoder in kinds.items()}
    plain = SentenceTransformerEncoder().sentence_transformer()
    cascade = cc.Cascade(made["torch, 32 bits"].policy)
    first = {
        "SentenceTransformer.encode, alone": lambda: plain.encode([QUERY], show_progress_bar=False),
        **{f"start, {name}": one.start for name, one in made.items()},
        "start, vector cached": lambda: cascade.start(QUERY),
    }
    show("Stage 1, a query of 50 tokens", timed(first, calls), "SentenceTransformer.encode, alone")
    second = {
        "SentenceTransformer.encode, alone": lambda: plain.encode([ANSWER], show_progress_bar=False),
        **{f"judge, {name}": one.judge for name, one in made.items()},
    }
    show("Stage 2 (EmbeddingHead), an answer of 300 tokens", timed(second, calls), "SentenceTransformer.encode, alone")


# — everything else —


def rest(calls: int) -> None:
    """What is neither encoder nor head; LangChain's own costs are shown beside it."""
    from langchain_core.runnables import RunnableLambda

    from langchain_cascade import CascadeChatModel

    policy = make_policy(_hashed)
    policy.warm_up()
    serving, able = Serving(policy), frozenset(policy.models)
    small, large = FakeChat(model_name="small"), FakeChat(model_name="large")
    model = CascadeChatModel(policy=policy, models={"small": small, "large": large})

    async def asked(text: str) -> object:
        return await small.ainvoke(text)

    wrapped = RunnableLambda(lambda text: small.invoke(text), asked)
    forced = {"configurable": {"cascade": {"model": "small"}}}

    def served() -> None:
        call = ServedCall(serving, Turn(text=QUERY, able=able))
        call.begin()
        call.open_pass()
        call.close_pass("", None, None)
        call.summary()

    alone, chain, ours = "the fake model, alone", "a RunnableLambda around it", "CascadeChatModel around it"
    with closing(asyncio.new_event_loop()) as loop:
        functions: dict[str, Callable[[], object]] = {
            f"{alone}: invoke": lambda: small.invoke(QUERY),
            f"{chain}: invoke": lambda: wrapped.invoke(QUERY),
            f"{ours}: invoke": lambda: model.invoke(QUERY, forced),
            f"{alone}: ainvoke": lambda: loop.run_until_complete(small.ainvoke(QUERY)),
            f"{chain}: ainvoke": lambda: loop.run_until_complete(wrapped.ainvoke(QUERY)),
            f"{ours}: ainvoke": lambda: loop.run_until_complete(model.ainvoke(QUERY, forced)),
            "the core's share: begin, pass, summary": served,
        }
        found = timed(functions, 10 * calls)
    show("Everything else", found, f"{alone}: invoke")
    for way in ("invoke", "ainvoke"):
        for name in (chain, ours):
            added = found[f"{name}: {way}"]["cpu"] - found[f"{alone}: {way}"]["cpu"]
            print(f"{name}: {way}: {1000 * added:.0f} µs more than the model alone")


def _hashed(texts: Sequence[str]) -> list[list[float]]:
    """An encoder that costs next to nothing."""
    return [[zlib.crc32(text[start::8].encode()) / 2**32 for start in range(8)] for text in texts]


# — a new process —


def start() -> None:
    """Imports, a first call against a warm one, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("torch", "onnx", "distilled"):
            make_policy(encoder_from_spec(f"{kind}:{DEFAULT_ENCODER}")).save(Path(folder, kind))
        ask = (
            "cascade.start(QUERY)\n"
            "policy.estimators['small'].predict_proba([QUERY], [cc.Answer(ANSWER, model='small', output_tokens=300)])"
        )
        load = (
            "import cascade_components as cc; from latency.timing import ANSWER, QUERY\n"
            f"policy = cc.CascadePolicy.load({folder!r} + '/{{0}}'); cascade = cc.Cascade(policy)\n"
        )
        codes = {
            "import langchain_core, numpy": "import langchain_core, numpy",
            "import langchain_cascade": "import langchain_cascade, numpy",
            "langchain_core's BaseChatModel and BaseTool": (
                "from langchain_core.language_models import BaseChatModel\nfrom langchain_core.tools import BaseTool\n"
                "import numpy"
            ),
            "langchain_cascade's CascadeChatModel": "from langchain_cascade import CascadeChatModel",
            "import torch": "import torch",
            **{f"load, start and judge, {kind}": load.format(kind) + ask for kind in ("torch", "onnx", "distilled")},
        }
        found = {name: process.measured(code) for name, code in codes.items()}
    bare = found["import torch"]["mb"]
    print("\n## A new process\n\n| | seconds | cpu seconds | MB | above torch alone |\n|---|--:|--:|--:|--:|")
    for name, one in found.items():
        print(f"| {name} | {one['s']:.2f} | {one['cpu_s']:.2f} | {one['mb']:.0f} | {one['mb'] - bare:+.0f} |")


def growth(calls: int) -> None:
    """Memory while calls go on; the cache of vectors, two for each call, is full after 2,048."""
    with tempfile.TemporaryDirectory() as folder:
        make_policy(DistilledEncoder()).save(Path(folder, "policy"))
        worker = str(Path(__file__).with_name("latency") / "growth.py")
        command = [sys.executable, worker, str(Path(folder, "policy")), str(calls)]
        subprocess.run(command, check=True, env=process.environment())


# — the peers —


def beside(calls: int) -> None:
    """The peers, each against the same reference in its own process."""
    print("\n## Peers\n\n| peer | what | p50 ms | p99 ms | cpu ms | × reference |\n|---|---|--:|--:|--:|--:|")
    for peer in peers.PEERS:
        found = peers.measured(peer, str(calls))
        if "error" in found:
            print(f"| {peer.name} | not measured: {found['error']} | | | | |")
            continue
        reference = found["rows"][found["reference"]]["cpu"]
        for name, row in found["rows"].items():
            print(f"| {peer.name} | {name} | {_cells(row, reference)} |")


def show(title: str, rows: Mapping[str, Mapping[str, float]], reference: str) -> None:
    """Print a table; ratios are of processor time."""
    print(f"\n## {title}\n\n| | p50 ms | p99 ms | cpu ms | × {reference} |\n|---|--:|--:|--:|--:|")
    for name, row in rows.items():
        print(f"| {name} | {_cells(row, rows[reference]['cpu'])} |")


def _cells(row: Mapping[str, float], reference: float) -> str:
    return " | ".join(f"{value:.3g}" for value in (row["p50"], row["p99"], row["cpu"], row["cpu"] / reference))


if __name__ == "__main__":
    main()
