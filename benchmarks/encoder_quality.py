"""What a faster encoder costs in decisions: the quickstart's recorded outcomes, divided at random again and again.

    python benchmarks/encoder_quality.py [--divisions 10] [--retention 0.95] [--also SPEC]

Each division trains on 65 % of the questions and tests on the rest, with every encoder alike. The policy is saved, and
what is replayed is the policy that was loaded again. Differences are paired: the same division, another encoder.
"""

import argparse
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

import cascade_components as cc
from cascade_components.encoders import CachedEncoder, DistilledEncoder, SentenceTransformerEncoder, encoder_from_spec

REFERENCE = "torch"


def main() -> None:
    """Fit, save, load and replay on every division, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--divisions", type=int, default=10)
    parser.add_argument("--retention", type=float, default=0.95, help="share of the strongest model's accuracy to keep")
    parser.add_argument("--also", action="append", default=[], help="a further encoder, such as onnx:MODEL")
    options = parser.parse_args()
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    made = {
        REFERENCE: SentenceTransformerEncoder(),
        "onnx": SentenceTransformerEncoder(backend="onnx"),
        "distilled": DistilledEncoder(),
        **{spec: encoder_from_spec(spec) for spec in options.also},
    }
    encoders = {name: CachedEncoder(encoder, size=20_000) for name, encoder in made.items()}
    found = {
        name: np.array([replayed(outcomes, encoder, seed, options.retention) for seed in range(options.divisions)])
        for name, encoder in encoders.items()
    }
    print(
        f"{options.divisions} divisions of {len(outcomes.queries)} questions, asked to keep {options.retention:.0%}\n"
    )
    print("| encoder | accuracy kept | against torch | cost, of strongest | against torch |\n|---|--:|--:|--:|--:|")
    for name, rows in found.items():
        shown = [
            text for at in (0, 1) for text in (_mean(rows[:, at]), _difference(rows[:, at], found[REFERENCE][:, at]))
        ]
        print(
            f"| {name} | {' | '.join('–' if name == REFERENCE and at % 2 else one for at, one in enumerate(shown))} |"
        )


def replayed(outcomes: cc.Outcomes, encoder: CachedEncoder, seed: int, retention: float) -> tuple[float, float]:
    """Share of the strongest model's accuracy kept, and of its cost, on the questions that were not seen."""
    train, test = outcomes.split(0.65, seed=seed)
    policy = cc.fit(train, encoder=encoder, retention=retention, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder, "policy"))
        found = cc.evaluate(cc.CascadePolicy.load(Path(folder, "policy"), encoder=encoder), test, progress=False)
    return found.retention, found.cost / found.strongest_cost


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.1%}"


def _difference(values: np.ndarray, reference: np.ndarray) -> str:
    """In points, with a 95 % interval."""
    paired = 100 * (values - reference)
    return f"{paired.mean():+.1f} ± {1.96 * paired.std(ddof=1) / np.sqrt(len(paired)):.1f}"


if __name__ == "__main__":
    main()
