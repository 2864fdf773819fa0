"""The map's edge: how many queries of kinds that a fit knew lie out of the map, and how many of kinds that it did not.

    python benchmarks/out_of_map.py --data DIR [--source mmlu_pro]

Each subject in turn is foreign: clusters are found on half of the queries of the others, the other half is held out.
"other sources" are the queries of the other files in DIR, "noise" random letters. Intervals are 95 %, Wilson's.
The sources are those of `benchmarks/decisions`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from cascade_components.cluster_count import best_cluster_count
from cascade_components.clustering import QueryClusterer
from cascade_components.encoders import DEFAULT_ENCODER

sys.path.insert(0, str(Path(__file__).parent / "decisions"))

from data import POOLS, Queries, read
from vectors import CACHE, DiskEncoder

LEAST = 100
"""Queries of a subject that is looked at."""

OTHERS = 500
"""Queries of each other source."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources' files")
    parser.add_argument("--source", default="mmlu_pro", choices=["mmlu_pro", "zeroeval", "routellm", "routerarena"])
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="as `fit` takes it (%(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept (%(default)s)")
    asked = parser.parse_args()
    queries, encoder = read(POOLS[asked.source], asked.data), DiskEncoder(asked.cache, asked.encoder)
    vectors = np.asarray(encoder(list(queries.texts)), float)
    encoder.save()
    tasks = np.array(queries.tasks)
    clusters = best_cluster_count(vectors, queries.correct)
    table = Table(title=f"{asked.source}: queries out of the map of {clusters} clusters, %")
    for heading in ("foreign", "held out", "foreign ones"):
        table.add_column(heading, justify="right" if heading != "foreign" else "left")
    for task in sorted(set(tasks)):
        if (tasks == task).sum() >= LEAST:
            clusterer, held_out = fitted(vectors[tasks != task], clusters)
            table.add_row(task, share(clusterer, held_out), share(clusterer, vectors[tasks == task]))
    table.add_section()
    clusterer, held_out = fitted(vectors, clusters)
    for name, texts in others(asked.source, asked.data):
        table.add_row(name, share(clusterer, held_out), share(clusterer, np.asarray(encoder(texts), float)))
    encoder.save()
    Console(width=100).print(table)


def fitted(vectors: np.ndarray, clusters: int) -> tuple[QueryClusterer, np.ndarray]:
    """Clusters of one half of the queries, and the vectors of the other."""
    half, held_out = np.array_split(np.random.default_rng(0).permutation(len(vectors)), 2)
    return QueryClusterer(clusters).fit(vectors[half]), vectors[held_out]


def share(clusterer: QueryClusterer, vectors: np.ndarray) -> str:
    """How many of the vectors lie out of the map, in percent, with its interval."""
    labels, distances = clusterer.predict(vectors)
    out = int((distances > clusterer.radius_[labels]).sum())
    low, high = binomtest(out, len(vectors)).proportion_ci(method="wilson")
    return f"{100 * out / len(vectors):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def others(source: str, folder: Path) -> list[tuple[str, list[str]]]:
    """Texts that none of the source's subjects is: of other sources, and of no language."""
    rng = np.random.default_rng(0)
    found: list[tuple[str, list[str]]] = []
    for name in ("mmlu_pro", "zeroeval", "routellm", "routerarena"):
        if name != source:
            texts: Queries = read(POOLS[name], folder)
            found.append((name, [texts.texts[row] for row in rng.permutation(len(texts.texts))[:OTHERS]]))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    return [*found, ("noise", ["".join(rng.choice(letters, 120)) for _ in range(OTHERS)])]


if __name__ == "__main__":
    main()
