"""Who watches calls from beside them: a monitor, and a shadow that asks the target as well. Neither costs an answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from cascade_components.trace import Trace

if TYPE_CHECKING:
    from cascade_components.monitoring.monitor import Monitor
    from cascade_components.monitoring.shadow import Shadow
    from cascade_components.serving.asking import Asking

_log = logging.getLogger(__name__)


class Watch:
    """Watches one call.

    Args:
        monitor: Hears how it ended.
        shadow: May ask the target about its answer, too.
    """

    def __init__(self, monitor: Monitor | None, shadow: Shadow | None) -> None:
        self._monitor = monitor
        self._shadow = shadow
        self._target: str | None = None
        self._started = time.perf_counter()

    def judged(self, before: Trace, after: Trace) -> None:
        """An answer was judged."""
        if self._shadow is not None:
            self._target = self._shadow.target(before, after)

    def end(self, call: Asking) -> None:
        """The answer stands."""
        self._tell(call.served.summary)
        if self._shadow is not None and self._target is not None:
            shadow, target, trace = self._shadow, self._target, call.served.trace
            _harmless(lambda: shadow.submit(trace, call.answer_text, target, call.shadow_asks(target)))

    def aend(self, call: Asking) -> None:
        """`end`, from a running event loop."""
        self._tell(call.served.summary)
        if self._shadow is not None and self._target is not None:
            shadow, target, trace = self._shadow, self._target, call.served.trace
            _harmless(lambda: shadow.start(trace, call.answer_text, target, call.ashadow_asks(target)))

    def _tell(self, summary: Callable[[], Mapping[str, Any]]) -> None:
        if self._monitor is not None:
            monitor, took_ms = self._monitor, (time.perf_counter() - self._started) * 1000
            _harmless(lambda: monitor.record(summary(), latency_ms=took_ms))


def _harmless(watch: Callable[[], object]) -> None:
    """Watching must not cost an answer."""
    try:
        watch()
    except Exception as error:
        _log_once(type(error).__name__)


@cache
def _log_once(kind: str) -> None:
    _log.warning("Watching a call failed (%s); further failures of this kind are not logged.", kind)
