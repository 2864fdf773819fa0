"""Capture on a cluster: Ray Data deals the parts of the questions to workers, and takes up what a lost one had."""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from cascade_cli.capture_pool import PoolFile
from cascade_cli.capture_setup import CaptureOptions, Models, Setup, make_models
from cascade_cli.capture_summary import Captured
from cascade_components.grading import Question
from cascade_ray.cluster import connected, cpus, nodes, quiet
from cascade_ray.part_worker import QUESTION, Done, PartWorker
from cascade_ray.parts import Parts
from cascade_ray.purse import Purse
from langchain_cascade.captures.budget import Budget


def capture(
    pool: str | os.PathLike[str],
    questions: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    grader: str,
    address: str = "auto",
    workers: int | None = None,
    show: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Ask every model of a pool every question on a Ray cluster, grade the answers, write outcomes.

    Every answer is on disk, in the folder `<output>.capture`, before it is counted. Called again, it asks what is
    missing.

    Args:
        pool: pool.yaml. Keys stay in the environment, also that of the cluster's machines.
        questions: A file, or `hf:DATASET`.
        output: Where the outcomes are written; the folder must be on a disk that all machines share.
        grader: As `cascade capture --grader` has it.
        address: Of the cluster; "local" starts one on this machine. Not looked at where Ray is connected already.
        workers: Processes that ask; None: one for each CPU, as far as the models' `concurrency` can be shared.
        show: Progress bar, and a table at the end.
        options: Further fields of `cascade_cli.capture_setup.CaptureOptions`: `agree_with`, `limit`, `runs`,
            `max_cost`, `regrade` …

    Returns:
        What `cascade capture --json` prints.

    Raises:
        ImportError: A package is missing.
        OSError: There is no cluster, a file is missing, or an answer could not be kept.
        RuntimeError: Nothing could be captured.
        ValueError: Something is wrong in a file or an option.

    Example:
        >>> capture("pool.yaml", "questions.jsonl", "outcomes.jsonl", grader="numeric")["outcomes"]   # doctest: +SKIP
        1200
    """
    from cascade_cli.capture import run_capture

    given = CaptureOptions(
        pool=Path(pool),
        questions=os.fspath(questions),
        output=Path(output),
        grader=grader,
        ray=address,
        workers=workers,
        show=show,
        **options,
    )
    return run_capture(given)


def capture_on_ray(setup: Setup) -> Captured:
    """Have everything asked that is missing, and everything graded.

    Raises:
        OSError: There is no cluster, or an answer could not be kept.
        ValueError: Something does not fit what was captured before, or what the models allow.
    """
    options = setup.options
    models = make_models(options, setup.pool)
    with connected(options.ray) as ray:
        workers = _workers(ray, setup.pool, options.workers)
        folder = options.parts.absolute()
        parts = Parts.of(folder, questions=len(setup.questions), workers=workers)
        dealt = _dealt(setup.questions, parts)
        budget = _earlier(parts, dealt, models, options)
        purse = None
        if budget.cap is not None:
            purse = ray.remote(Purse).options(num_cpus=0).remote(budget.cap, budget.spent)
        workers, sent = min(workers, len(dealt)), replace(setup, questions=())
        dataset = quiet(ray.data.from_blocks(list(_blocks(dealt))))
        done = dataset.map_batches(
            PartWorker,
            fn_constructor_args=(sent, parts, workers, purse),
            batch_size=None,  # a block, which is a part
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"scheduling_strategy": "SPREAD"},
        )
        return _gathered(done, setup, models, len(dealt))


def _workers(ray: ModuleType, pool: PoolFile, wanted: int | None) -> int:
    """How many processes ask; each must have at least one call at a time of every model."""
    entries = {**pool.models, **pool.judges}
    least = min((entry.at_once for entry in entries.values() if not entry.embedded), default=None)
    if wanted is not None and least is not None and wanted > least:
        names = ", ".join(name for name, entry in entries.items() if not entry.embedded and entry.at_once == least)
        msg = f"{wanted} workers cannot share the {least} calls that {names} may be asked at the same time: "
        raise ValueError(msg + "fewer --workers, or a higher concurrency in the pool file.")
    if wanted is not None:
        return wanted
    # Of embedded models, several on one machine would measure each other.
    free = nodes(ray) if any(entry.embedded for entry in entries.values()) else cpus(ray)
    return free if least is None else min(free, least)


def _dealt(questions: Sequence[Question], parts: Parts) -> dict[int, list[Question]]:
    dealt: dict[int, list[Question]] = defaultdict(list)
    for question in questions:
        dealt[parts.number(question.id)].append(question)
    return dict(sorted(dealt.items()))


def _earlier(parts: Parts, dealt: dict[int, list[Question]], models: Models, options: CaptureOptions) -> Budget:
    """What earlier runs spent; and a look, before anything is asked, at whether they asked the same."""
    known = {**models.priced, **models.judges}.values()
    fingerprints = {member.name: member.fingerprint for member in models.members.values()}
    budget = Budget.over(options.max_cost, known, [])
    for number, store in parts.there():
        store.expect(dealt.get(number, ()), fingerprints)
        budget.spent += Budget.over(None, known, store.tokens()).spent
    return budget


def _blocks(dealt: dict[int, list[Question]]) -> Iterator[Any]:
    import pyarrow as pa

    for number, questions in dealt.items():
        texts = [QUESTION.dump_json(question).decode() for question in questions]
        yield pa.table({"part": [number] * len(texts), "question": texts})


def _gathered(done: Any, setup: Setup, models: Models, count: int) -> Captured:
    """Take the parts as they come; their outcomes in the order of the questions."""
    options, whole = setup.options, Done()
    with tqdm(total=count, desc="capture", unit="part", disable=None if options.show else True) as bar:
        for row in done.iter_rows():
            found: Done = pickle.loads(row["done"])  # noqa: S301 - our own worker's
            if found.error is not None:
                raise found.error
            _add(whole, found)
            failed = whole.filled.failures.total()
            told = f"{whole.answers} answers, ${whole.spent_usd:.4g}" + (f", {failed} failed" if failed else "")
            bar.set_postfix_str(told, refresh=False)
            bar.update()
    place = {question.id: number for number, question in enumerate(setup.questions)}
    whole.graded.rows.sort(key=lambda row: (place[row["query_id"]], row["model"], row["run"]))
    asked = len(setup.questions)
    return Captured(asked, models.priced, whole.filled, whole.graded, whole.answers, whole.spent_usd)


def _add(whole: Done, found: Done) -> None:
    whole.graded.rows += found.graded.rows
    whole.graded.ungradable += found.graded.ungradable
    whole.filled.answers += found.filled.answers
    whole.filled.failures += found.filled.failures
    whole.filled.given_up |= found.filled.given_up
    whole.filled.last_error |= found.filled.last_error
    whole.filled.capped = found.filled.capped or whole.filled.capped
    whole.answers += found.answers
    whole.spent_usd += found.spent_usd
