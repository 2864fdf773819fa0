"""The folder that a capture on a cluster keeps its answers in.

Questions are dealt to parts by their ids, and each part is a store like that of `cascade capture` on one machine. A
part is open in one process at a time (SQLite's lock goes with its holder): nothing can be asked twice by mistake.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from langchain_cascade.captures.store import AnswerStore, StoreError

QUESTIONS = 200
"""Of a part, about: few enough that workers end at about the same time."""

_FOR_EACH_WORKER = 4
_MOST = 20_000
_NAME = re.compile(r"part-(\d{5})-of-(\d{5})\.sqlite")
_PATIENCE_S = 60.0
"""How long a worker waits for one of a run that was killed a moment ago."""


@dataclass(frozen=True)
class Parts:
    """Which part a question belongs to, and where that part is.

    Example:
        >>> Parts(Path("outcomes.capture"), 8).path(3).name
        'part-00003-of-00008.sqlite'
    """

    folder: Path
    count: int

    @classmethod
    def of(cls, folder: Path, *, questions: int, workers: int) -> Self:
        """The parts that are there, or as many new ones as suit the questions.

        Raises:
            ValueError: The folder holds parts of two divisions.
        """
        counts = {int(found[2]) for file in _files(folder) if (found := _NAME.fullmatch(file.name))}
        if len(counts) > 1:
            msg = f"{folder} holds parts of two captures (of {' and of '.join(map(str, sorted(counts)))}); "
            raise ValueError(msg + "choose another --output.")
        fresh = max(-(-questions // QUESTIONS), _FOR_EACH_WORKER * workers)
        return cls(folder, counts.pop() if counts else min(fresh, max(1, questions), _MOST))

    def number(self, query_id: str) -> int:
        """The part of a question: the same on every machine, whatever other questions there are."""
        return int.from_bytes(hashlib.sha256(query_id.encode()).digest()[:8]) % self.count

    def path(self, number: int) -> Path:
        """Where a part is."""
        return self.folder / f"part-{number:05}-of-{self.count:05}.sqlite"

    def open(self, number: int) -> AnswerStore:
        """Open a part, or make it; wait a while for a process that is ending.

        Raises:
            StoreError: It cannot be opened, or another capture writes to it.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return AnswerStore(self.path(number))
            except StoreError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def there(self) -> Iterator[tuple[int, AnswerStore]]:
        """The parts that an earlier run made, opened one after the other."""
        for number in range(self.count):
            if self.path(number).is_file():
                with self.open(number) as store:
                    yield number, store


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
