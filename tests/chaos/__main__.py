"""The suite's long form: `python -m tests.chaos --calls 20000`."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.chaos.growth import growth, held_too_much, traced
from tests.chaos.report import lags, tables
from tests.chaos.responsiveness import responsiveness
from tests.chaos.run import run


def main(
    calls: Annotated[int, typer.Option(help="How many calls to make.")] = 20_000,
    callers: Annotated[int, typer.Option(help="How many at once.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the schedule.")] = 0,
    wave: Annotated[int, typer.Option(help="Calls between two looks at what was left behind.")] = 1000,
) -> None:
    """Ask cascades over servers that fail in every way; print what became of the calls."""
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task("calls", total=calls)
        summary = run(calls, callers=callers, seed=seed, size=wave, on_wave=lambda _: progress.advance(task, wave))
    summary.problems += growth([used for used, _ in summary.memory], wave)
    console.print(tables(summary))
    console.print(lags(responsiveness(seed)))
    grown, later, places = traced(max(calls // 8, 800), callers=callers, seed=seed)
    console.print(f"Python holds {grown / 1000:.0f} kB more than {later:,} calls before.")
    if held_too_much(grown, later):
        summary.problems += [f"held: {place}" for place in places]
    for problem in summary.problems + summary.left:
        console.print(problem, markup=False)
    sys.exit(bool(summary.problems or summary.left))


if __name__ == "__main__":
    typer.run(main)
