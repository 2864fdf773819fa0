"""`cascade capture`: a pool of models × questions × a grader → outcomes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import typer
from tqdm import tqdm

from cascade_cli.capture_grading import Graded, grade_answers
from cascade_cli.capture_setup import CaptureOptions, Models, make_models, read_setup
from cascade_cli.capture_summary import Captured, summed_up
from cascade_components.grading import Grader, Question
from langchain_cascade.captures.budget import Budget
from langchain_cascade.captures.engine import Filled, fill
from langchain_cascade.captures.judge import Judge
from langchain_cascade.captures.member import Member
from langchain_cascade.captures.store import AnswerStore

__all__ = ["CaptureOptions", "run_capture"]


def run_capture(options: CaptureOptions) -> dict[str, Any]:
    """Ask what is missing, grade everything, write the outcomes.

    Returns:
        What `--json` prints.

    Raises:
        FileNotFoundError: A file is missing; or there is nothing to grade again.
        ImportError: A package is missing.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
        OSError: The disk is full, or another capture writes to the same file.
        RuntimeError: Nothing could be captured.
        ValueError: Something is wrong in a file or an option.
    """
    setup = read_setup(options)
    if options.ray is not None:
        from cascade_ray.capturing import capture_on_ray

        return summed_up(capture_on_ray(setup), options)
    models, questions = make_models(options, setup.pool), setup.questions
    with AnswerStore(options.database) as store:
        store.expect(questions, {member.name: member.fingerprint for member in models.members.values()})
        budget = Budget.over(options.max_cost, {**models.priced, **models.judges}.values(), store.tokens())
        members = list(models.members.values())
        filled = Filled() if options.regrade else _fill(store, members, questions, budget, options)
        grader = setup.grader or Judge(next(iter(models.judges.values())), store, budget, setup.rubric)
        graded = _grade(store, questions, models, grader, options)
        there = len(store.answered())
        captured = Captured(len(questions), models.priced, filled, graded, there, budget.spent)
        return summed_up(captured, options)


def _fill(
    store: AnswerStore,
    members: Sequence[Member],
    questions: Sequence[Question],
    budget: Budget,
    options: CaptureOptions,
) -> Filled:
    total = len(members) * len(questions) * options.runs
    wanted = {(question.id, member.name) for question in questions for member in members}
    there = sum((cell.query_id, cell.model) in wanted and cell.run < options.runs for cell in store.answered())
    with tqdm(total=total, initial=there, desc="capture", unit="answer", disable=None if options.show else True) as bar:

        def tick(filled: Filled) -> None:
            failed = filled.failures.total()
            bar.set_postfix_str(f"${budget.spent:.4g}" + (f", {failed} failed" if failed else ""), refresh=False)
            bar.update(there + filled.answers.total() - bar.n)

        filled, stopped = asyncio.run(_filled(store, members, questions, budget, options.runs, tick))
    if stopped:
        raise KeyboardInterrupt
    return filled


async def _filled(
    store: AnswerStore,
    members: Sequence[Member],
    questions: Sequence[Question],
    budget: Budget,
    runs: int,
    tick: Callable[[Filled], None],
) -> tuple[Filled, bool]:
    """What was done, and whether Ctrl-C ended it."""
    stop, filled = asyncio.Event(), Filled()
    _on_interrupt(stop)
    # Models that know no asyncio are asked in threads, and answers are written in them.
    threads = 4 + sum(member.concurrency for member in members)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    try:
        filled = await fill(store, members, questions, budget=budget, runs=runs, stop=stop, tick=tick)
    except asyncio.CancelledError:
        stop.set()
    return filled, stop.is_set()


def _on_interrupt(stop: asyncio.Event) -> None:
    """The first Ctrl-C lets the calls under way end, as they are paid for; the second one drops them."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        typer.echo("\ncascade: stopping; waiting for the calls under way. Ctrl-C again drops them.", err=True)
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except NotImplementedError:  # Windows: Ctrl-C drops them at once
        return


def _grade(
    store: AnswerStore,
    questions: Sequence[Question],
    models: Models,
    grader: Grader,
    options: CaptureOptions,
) -> Graded:
    answers = [(cell, measured) for cell, measured in store.answers() if cell.run < options.runs or options.regrade]
    with tqdm(total=len(answers), desc="grade", unit="answer", disable=None if options.show else True) as bar:
        return grade_answers(
            answers,
            questions,
            models.priced,
            grader,
            agree_with=options.agree_with,
            concurrency=max((judge.concurrency for judge in models.judges.values()), default=1),
            tick=bar.update,
        )
