"""What an adapter gives for one call: how its framework's models are asked, and what becomes of what they say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Protocol

from cascade_components.serving.call import ServedCall
from cascade_components.serving.lanes import Lanes


class Asking(Protocol):
    """What an adapter's call can do. Answers and parts are the framework's own."""

    @property
    def served(self) -> ServedCall:
        """What decides; it has begun."""
        ...

    @property
    def lanes(self) -> Lanes:
        """Threads for calls that may be given up."""
        ...

    def wait_turn(self) -> None:
        """Wait for whatever the framework wants to be waited for before a model is asked."""
        ...

    async def await_turn(self) -> None:
        """`wait_turn`, async."""
        ...

    def asks(self, model: str, *, rival: bool) -> Callable[[], Any]:
        """Prepare the call of a model; the result makes it, in whatever thread."""
        ...

    def aasks(self, model: str, *, rival: bool) -> Callable[[], Awaitable[Any]]:
        """`asks`, async."""
        ...

    def streams(self, model: str) -> Generator[Any]:
        """Call a model by a stream."""
        ...

    def astreams(self, model: str) -> AsyncGenerator[Any]:
        """`streams`, async."""
        ...

    def receive(self, model: str, answer: Any) -> None:
        """Take a whole answer."""
        ...

    def take(self, part: Any) -> bool:
        """Take a part of a stream; say whether a held answer has come so far that it may be released."""
        ...

    def consider_release(self) -> None:
        """Release a held answer if what has come of it is good enough."""
        ...

    def ready(self) -> list[Any]:
        """The parts of a stream that the caller gets now."""
        ...

    def end_stream(self) -> None:
        """The stream is complete."""
        ...

    def judge(self) -> None:
        """Judge the answer that came last."""
        ...

    @property
    def answer_text(self) -> str:
        """The text of the answer that stands."""
        ...

    def shadow_asks(self, model: str) -> Callable[[], str]:
        """Prepare a call of a model that no callback of the user's hears; the result makes it, and returns its text."""
        ...

    def ashadow_asks(self, model: str) -> Callable[[], Awaitable[str]]:
        """`shadow_asks`, async."""
        ...

    def restarted(self) -> list[Any]:
        """What tells the reader of a stream that it starts anew; nothing where it does not."""
        ...
