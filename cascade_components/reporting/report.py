"""Write the report."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_components.atomic import put_all
from cascade_components.evaluation import Evaluation
from cascade_components.policy import CascadePolicy
from cascade_components.reporting.figures import PNG_NAME, draw
from cascade_components.reporting.findings import find
from cascade_components.reporting.page import page


@dataclass(frozen=True)
class Report:
    """What was written, and the policy's replay."""

    path: Path
    pngs: tuple[Path, ...]
    evaluation: Evaluation


def report(
    policy: CascadePolicy,
    outcomes: Any,
    path: str | os.PathLike[str],
    png: str | os.PathLike[str] | None = None,
    *,
    progress: bool = True,
) -> Report:
    """Replay a policy on outcomes and write one HTML page of figures and tables; no model is called.

    The page needs no other file and no network. Each file appears whole or not at all, and none before all are made.

    Args:
        policy: A fitted policy.
        outcomes: Whatever `load_outcomes` takes, with rows of the policy's models; best of queries that it was not
            fitted on.
        path: The page; one that lies there is replaced.
        png: A folder for the figures as PNGs; it is made where there is none, and figures of an earlier report that
            this one has not go. None: no PNGs.
        progress: Show progress bars on a terminal.

    Raises:
        ImportError: The extra [report] is not installed.
        OSError: A file could not be written.
        ValueError: The outcomes are bad, or no query has the rows that the plans need.

    Example:
        >>> report(policy, "test.jsonl", "report.html").evaluation.retention     # doctest: +SKIP
    """
    _check_extra()
    target, folder = Path(path), None if png is None else Path(png)
    _check_places(target, folder)
    found = find(policy, outcomes, progress=progress)
    figures = draw(found)
    html = page(found, figures).encode()
    pngs: tuple[Path, ...] = ()
    if folder is not None:
        images = {f"{one.name}.png": one.png() for drawn in figures.values() for one in drawn}
        folder.mkdir(parents=True, exist_ok=True)
        put_all(images, folder)
        pngs = tuple(folder / name for name in images)
        _remove_others(folder, images)
    put_all({target.name: html}, target.parent)
    return Report(target, pngs, found.evaluation)


def _remove_others(folder: Path, images: Collection[str]) -> None:
    """Remove the figures of an earlier report that this one has not: beside its page they would tell of another."""
    for entry in list(folder.iterdir()):
        if entry.name not in images and PNG_NAME.fullmatch(entry.name) and entry.is_file():
            entry.unlink()


def _check_places(target: Path, png: Path | None) -> None:
    """Refuse before the replay what could not be written after it."""
    if target.is_dir():
        msg = f"{target} is a folder; name the file that the report is written to."
        raise IsADirectoryError(msg)
    if not target.parent.is_dir():
        msg = f"{target} cannot be written: there is no folder {target.parent}."
        raise FileNotFoundError(msg)
    if png is not None and png.exists() and not png.is_dir():
        msg = f"{png} is no folder; name the one that the figures are written to."
        raise NotADirectoryError(msg)


def _check_extra() -> None:
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401, ICN001
    except ImportError as error:
        msg = f'The report needs {error.name}: pip install "cascade-components[report]"'
        raise ImportError(msg) from None
