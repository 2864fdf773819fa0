"""Prometheus metrics: what the monitor of the policy has counted, and the gateway's own traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

import cascade_components as cc
from cascade_components.monitoring.prometheus import prometheus_collector

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_GONE = "gone"


class Traffic:
    """Counts requests in a registry of its own: there may be two gateways in one process.

    Args:
        monitor: Gives the monitor of the policy that serves now.
        taken: Gives the number of chat completions that are being answered.
    """

    def __init__(self, monitor: Callable[[], cc.Monitor], taken: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfNow(monitor))
        own: dict[str, Any] = {"namespace": "cascade_gateway", "registry": self._registry}
        self._requests = Counter("requests", "Requests by path and status.", ["path", "status"], **own)
        self._seconds = Histogram("request_seconds", "Time of a request.", ["path"], buckets=_SECONDS, **own)
        Gauge("completions_in_flight", "Chat completions that are being answered.", **own).set_function(taken)
        self._counts: dict[tuple[str, int], Any] = {}
        self._times: dict[str, Any] = {}

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. What no route answers has no path of its own: clients cannot make labels.

        Args:
            scope: The request's.
            status: Its answer's; 0: the client was gone before there was one.
            seconds: How long it took.
        """
        route = scope.get("route")
        path = getattr(route, "path", "other")
        key = path, status
        if key not in self._counts:
            self._counts[key] = self._requests.labels(path, str(status or _GONE))
            self._times[path] = self._seconds.labels(path)
        self._counts[key].inc()
        self._times[path].observe(seconds)

    @property
    def media_type(self) -> str:
        """What `text` is in."""
        return CONTENT_TYPE_LATEST

    def text(self) -> bytes:
        """All metrics, in Prometheus's text format."""
        return generate_latest(self._registry)


class _OfNow(Collector):
    """Reads the monitor of the policy that serves when it is scraped."""

    def __init__(self, monitor: Callable[[], cc.Monitor]) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        yield from prometheus_collector(self._monitor()).collect()
