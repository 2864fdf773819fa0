"""What a capture is to do, read from the command line and its files, and checked before any model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_cli.capture_grading import require_labels
from cascade_cli.capture_pool import PoolFile, make_members, price_of, read_pool_file
from cascade_cli.capture_questions import FIELDS, read_questions
from cascade_components.grading import Grader, Question, named_grader
from langchain_cascade.captures.judge import RUBRIC
from langchain_cascade.captures.member import Member


@dataclass(frozen=True)
class CaptureOptions:
    """What the command line says."""

    pool: Path
    questions: str
    grader: str
    output: Path
    agree_with: str | None = None
    rubric: Path | None = None
    fields: Sequence[str] = ()
    limit: int | None = None
    runs: int = 1
    max_cost: float | None = None
    regrade: bool = False
    show: bool = True
    ray: str | None = None
    """Address of a Ray cluster; None: this process does it all."""
    workers: int | None = None
    """With `ray`: how many processes ask; None: one for each CPU."""

    @property
    def database(self) -> Path:
        """Where the answers are kept, beside the outcomes."""
        return self.output.with_name(f"{self._stem}.capture.sqlite")

    @property
    def parts(self) -> Path:
        """With `ray`: the folder that the answers are kept in, beside the outcomes."""
        return self.output.with_name(f"{self._stem}.capture")

    @property
    def _stem(self) -> str:
        return self.output.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")


@dataclass(frozen=True)
class Setup:
    """What was read; holds no key, and can be sent to another process."""

    options: CaptureOptions
    pool: PoolFile
    questions: Sequence[Question]
    grader: Grader | None
    """None: a model judges."""
    rubric: str


@dataclass(frozen=True)
class Models:
    """The chat models of a capture."""

    members: Mapping[str, Member]
    """Those that are asked the questions: none, where answers are only graded again."""
    judges: Mapping[str, Member]
    priced: Mapping[str, Member]
    """The whole pool, for what its answers cost."""


def read_setup(options: CaptureOptions) -> Setup:
    """Read and check all there is to read; no model is made.

    Raises:
        FileNotFoundError: A file is missing; or there is nothing to grade again.
        ImportError: A package is missing.
        ValueError: Something is wrong in a file or an option.
    """
    pool = read_pool_file(options.pool)
    grader = _known_grader(options, pool)
    questions = read_questions(
        options.questions,
        names=_field_names(options.fields),
        options_in_prompt=options.grader == "choice",
        limit=options.limit,
    )
    if grader is not None:
        require_labels(grader, questions, options.agree_with)
    _check_place(options)
    return Setup(options, pool, questions, grader, _rubric(options))


def make_models(options: CaptureOptions, pool: PoolFile) -> Models:
    """Make the chat models that are asked.

    Raises:
        ImportError: A package is missing; the message names it.
        ValueError: A key is missing, or a model cannot be made.
    """
    # Grading again asks none of them, so that no key is needed.
    members = {} if options.regrade else make_members(pool.models, options.pool)
    priced = members or {name: _unasked(name, pool) for name in pool.models}
    return Models(members, _judge_member(options, pool, members), priced)


def _check_place(options: CaptureOptions) -> None:
    here, other = (options.database, options.parts) if options.ray is None else (options.parts, options.database)
    if other.exists():
        way = "with --ray ADDRESS (--ray local is this machine)" if options.ray is None else "without --ray"
        msg = f"{other} holds answers that were captured {way}; go on like that, or choose another --output."
        raise ValueError(msg)
    if options.regrade and not here.exists():
        msg = f"There is nothing to grade again: {here} is not there. Capture without --regrade first."
        raise FileNotFoundError(msg)


def _known_grader(options: CaptureOptions, pool: PoolFile) -> Grader | None:
    """The grader, or None for a judge: it is made when its model is; with a look at what goes with it."""
    if options.agree_with is not None and options.agree_with not in pool.models:
        known = ", ".join(pool.models)
        msg = f"--agree-with {options.agree_with}: there is no such model in {options.pool}, only {known}."
        raise ValueError(msg)
    kind, _, judge = options.grader.partition(":")
    if kind != "judge":
        if options.rubric is not None:
            msg = "--rubric is for --grader judge:MODEL."
            raise ValueError(msg)
        return named_grader(options.grader)
    if judge not in {**pool.models, **pool.judges}:
        known = ", ".join({**pool.models, **pool.judges})
        msg = f"--grader {options.grader} needs a model of {options.pool}, as judge:NAME; there are {known}."
        raise ValueError(msg)
    return None


def _rubric(options: CaptureOptions) -> str:
    text = RUBRIC if options.rubric is None else options.rubric.read_text(encoding="utf-8").strip()
    if not text:
        msg = f"--rubric {options.rubric}: the file is empty."
        raise ValueError(msg)
    return text


def _judge_member(options: CaptureOptions, pool: PoolFile, members: Mapping[str, Member]) -> dict[str, Member]:
    kind, _, name = options.grader.partition(":")
    if kind != "judge":
        return {}
    if name in members:
        return {name: members[name]}
    return make_members({name: {**pool.models, **pool.judges}[name]}, options.pool)


def _unasked(name: str, pool: PoolFile) -> Member:
    """A model that only its price is asked of."""
    return Member(name, model=None, price=price_of(pool.models[name]))  # type: ignore[arg-type]


def _field_names(fields: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for given in fields:
        field, _, name = given.partition("=")
        if field not in FIELDS or not name:
            msg = f"--field must be FIELD=NAME with one of {', '.join(FIELDS)}; found {given!r}."
            raise ValueError(msg)
        names[field] = name
    return names
