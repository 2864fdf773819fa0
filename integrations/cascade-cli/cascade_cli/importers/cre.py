"""Captures of cre-router: what `cre evaluate` leaves, generations and the detailed dump of each request's times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cascade_cli.importers.logged import Logged, Skipped, Source, score_of, without_none
from cascade_cli.rows import Row, read_rows
from cascade_components.cre_stats import read_json

_STAMP = re.compile(r"(_\d{8}_\d{6})?_generations\.jsonl$")
_NEEDED = ("qid", "cluster", "run", "question", "full_output", "num_tokens", "correct")


def read(sources: Sequence[Source], skipped: Skipped) -> Iterator[Logged]:
    """Read …_generations.jsonl files, or the folders that hold them, each with its requests' times where they are kept.

    The times of request i of a cluster and run are those of the i-th generation of it. That both are of the same
    request is checked by the length of the answers. The stored verdicts are taken; `--grader` grades anew.

    Args:
        sources: MODEL=FILE or MODEL=FOLDER: cre-router's file names do not tell models apart surely.
        skipped: Counts what is left out: here nothing is, but times that were not kept.

    Raises:
        FileNotFoundError: A folder holds no generations.
        ValueError: No model is named, a line is broken, or the times are of other answers.
    """
    for source in sources:
        if source.model is None:
            msg = f"Which model answered in {source.path}? Name it: MODEL={source.path}."
            raise ValueError(msg)
        for file in source.files("*_generations.jsonl"):
            yield from _file(file, source.model, skipped)


def _file(file: Path, model: str, skipped: Skipped) -> Iterator[Logged]:
    batches: dict[tuple[str, int], list[tuple[str, Row]]] = {}
    for place, row in read_rows(file):
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            msg = f"{place}: no generation of cre-router: {missing[0]} is missing."
            raise ValueError(msg)
        batches.setdefault((str(row["cluster"]), int(row["run"])), []).append((place, row))
    for (cluster, run), rows in batches.items():
        took = _times(file, cluster, run, [row for _, row in rows])
        for number, (place, row) in enumerate(rows):
            if took is None:
                skipped.add("times of single requests were not kept; the outcome is there without them")
            outcome = {
                "query_id": str(row["qid"]),
                "query": row["question"],
                "model": model,
                "run": run,
                "output": row["full_output"],
                "correct": score_of(row["correct"], place, "correct"),
                "output_tokens": row["num_tokens"],
                **(took[number] if took else {}),
            }
            right = row.get("ground_truth_answer")
            yield Logged(place, without_none(outcome), () if right is None else (str(right),))


def _times(file: Path, cluster: str, run: int, rows: Sequence[Row]) -> list[dict[str, float]] | None:
    """TTFT, TPOT and E2EL of each request in ms, as cre-router reckons them; None: they were not kept."""
    end = f"_c{cluster}_r{run}.json"
    own = _STAMP.sub("", file.name)  # TASK_MODEL: a folder may hold the times of several
    found = [path for folder in _detail_folders(file) for path in sorted(folder.glob(f"*{end}"))]
    found = [path for path in found if path.name == f"detail_{own}{end}"] or found
    if not found:
        return None
    detail: Any = read_json(found[0])
    lengths, firsts, gaps = (detail.get(name) for name in ("output_lens", "ttfts", "itls"))
    if lengths is None or firsts is None or gaps is None:
        msg = f"{found[0]}: output_lens, ttfts or itls is missing."
        raise ValueError(msg)
    if lengths != [row["num_tokens"] for row in rows] or not len(firsts) == len(gaps) == len(rows):
        msg = f"{found[0]} holds the times of other answers than {file}: their lengths differ."
        raise ValueError(msg)
    return [_measured(*one) for one in zip(lengths, firsts, gaps, strict=True)]


def _measured(tokens: int, first: float, gaps: Sequence[float]) -> dict[str, float]:
    decoding = sum(gaps)
    return {
        "ttft_ms": 1000 * first,
        "tpot_ms": 1000 * decoding / (tokens - 1) if tokens > 1 else 0.0,
        "e2el_ms": 1000 * (first + decoding),
    }


def _detail_folders(file: Path) -> list[Path]:
    """Where `cre evaluate` writes by itself, and where its reader looks: detail_TAG beside results_TAG_MODEL."""
    beside = sorted(file.parent.parent.glob("detail_*"), key=lambda folder: -len(folder.name))
    tagged = [of for of in beside if file.parent.name.startswith(f"results_{of.name.removeprefix('detail_')}_")]
    return [file.parent / "detail", *tagged[:1]]
