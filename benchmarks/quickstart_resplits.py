"""The quickstart's comparison over many random divisions of its questions: one division of 600 questions is luck.

Each division trains on 65 % of the questions and tests on the rest. Printed are means over the divisions, with 95 %
intervals of these means. Needs no model, only the recorded outcomes: `python benchmarks/quickstart_resplits.py`.
"""

from importlib import resources

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import cascade_components as cc
from cascade_cli.comparison import RETENTIONS, compare
from cascade_components.encoders import CachedEncoder, SentenceTransformerEncoder

DIVISIONS = 20


def main() -> None:
    """Fit and replay on every division, and print the table."""
    with resources.as_file(resources.files("cascade_cli") / "data" / "outcomes.jsonl.gz") as path:
        outcomes = cc.load_outcomes(path)
    encoder = CachedEncoder(SentenceTransformerEncoder(), size=10_000)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in track(range(DIVISIONS), "divisions"):
        train, test = outcomes.split(0.65, seed=seed)
        for kind, quality in (("", "embedding"), (" (Stage 1 only)", None)):
            policy = cc.fit(train, encoder=encoder, quality=quality, retention=RETENTIONS["cascade"], progress=False)
            results = compare(policy, test)
            strongest = results[f"always:{policy.strongest}"]
            for name, row in results.items():
                if not kind or name.startswith("cascade"):
                    kept = row["accuracy"] / strongest["accuracy"]
                    cost = row["cost"] / strongest["cost"]
                    found.setdefault(name + kind, []).append((kept, cost, row.get("escalation_rate", 0.0)))
    table = Table(title=f"{DIVISIONS} divisions of {len(outcomes.queries)} questions")
    for heading in ("", "accuracy kept", "cost, of strongest", "escalated"):
        table.add_column(heading)
    for name, rows in found.items():
        means = np.mean(rows, 0)
        margins = 1.96 * np.std(rows, 0) / np.sqrt(len(rows))
        table.add_row(name, *(f"{100 * m:.1f} % ± {100 * e:.1f}" for m, e in zip(means, margins, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
