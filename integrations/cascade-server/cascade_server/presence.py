"""Work that ends when its client is gone: the calls of the wrapped models are cancelled."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive


class WhileThere:
    """Cancels the task that it is entered in once the client has gone; then it is left without an error.

    Args:
        receive: The request's channel, after its body was read.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive

    async def __aenter__(self) -> Self:
        self._work = asyncio.current_task()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._listening.cancel()
        if not self.gone or kind is not asyncio.CancelledError:
            return False
        # Cancelled by the server as well: then it must end.
        return self._work is not None and self._work.uncancel() == 0

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._work is not None:
            self._work.cancel()
