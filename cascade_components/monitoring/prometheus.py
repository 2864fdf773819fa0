"""A monitor's counts as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from cascade_components.monitoring.monitor import Monitor, Snapshot
from cascade_components.monitoring.totals import LATENCY_EDGES, SCORE_EDGES, Histogram, place_names

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector


def prometheus_collector(monitor: Monitor, *, namespace: str = "cascade") -> Collector:
    """A collector that reads the monitor whenever it is scraped.

    Labels are the policy's models (and "other"), its clusters (and "out_of_map"), and the names of the drift tests.

    Args:
        monitor: What is read.
        namespace: What the metrics' names begin with; two collectors of one registry need two.

    Raises:
        ImportError: prometheus-client is not there.

    Example:
        >>> from prometheus_client import REGISTRY, start_http_server     # doctest: +SKIP
        >>> REGISTRY.register(prometheus_collector(monitor))              # doctest: +SKIP
        >>> start_http_server(9000)                                       # doctest: +SKIP
    """
    try:
        from prometheus_client.registry import Collector
    except ImportError:
        msg = 'prometheus_collector needs prometheus-client: pip install "cascade-components[monitoring]".'
        raise ImportError(msg) from None

    class MonitorCollector(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _metrics(monitor, namespace)

    return MonitorCollector()


def _metrics(monitor: Monitor, namespace: str) -> Iterator[Metric]:
    snapshot = monitor.snapshot()
    totals = snapshot.totals
    by_model = {
        "calls": ("Calls that a model answered.", totals.calls),
        "escalations": ("Calls in which a model's first answer was judged weak.", totals.escalations),
        "failures": ("Failures of a model.", totals.failures),
    }
    for name, (text, values) in by_model.items():
        yield _counter(f"{namespace}_{name}", text, "model", values)
    yield _counter(f"{namespace}_cluster_calls", "Calls by cluster of their query.", "cluster", _by_place(snapshot))
    single = {
        "fallbacks": ("Calls that went on without a model that had failed.", totals.fallbacks),
        "estimator_failures": ("Calls in which an estimator could not read an answer.", totals.estimator_failures),
        "cost_usd": ("Cost of the calls whose cost is known, in USD.", totals.cost),
        "unpriced_calls": ("Calls whose cost is not known.", totals.unpriced),
        "windows": ("Windows in which drift was looked for.", snapshot.drift.windows),
    }
    for name, (text, value) in single.items():
        yield _counter(f"{namespace}_{name}", text, "", {"": value})
    yield _histogram(f"{namespace}_score", "P(correct) of a model's answers.", SCORE_EDGES, totals.scores, "model")
    latency = {"": totals.latency}
    yield _histogram(f"{namespace}_latency_seconds", "Time from question to answer.", LATENCY_EDGES, latency, "")
    yield from _drift(monitor, snapshot, namespace)


def _drift(monitor: Monitor, snapshot: Snapshot, namespace: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    drifted = GaugeMetricFamily(f"{namespace}_drift", "1 where the last window has drifted.", labels=["metric"])
    effect = GaugeMetricFamily(f"{namespace}_drift_effect", "How far the last window is off.", labels=["metric"])
    for metric in snapshot.drift.metrics:
        drifted.add_metric([metric.name], float(metric.drifted))
        if metric.effect is not None:
            effect.add_metric([metric.name], metric.effect)
    text = "Share of the queries that the policy expects in a cluster."
    shares = GaugeMetricFamily(f"{namespace}_cluster_expected_share", text, labels=["cluster"])
    for name, share in zip(_by_place(snapshot), monitor.expected.shares, strict=True):
        shares.add_metric([name], share)
    yield from (drifted, effect, shares)


def _by_place(snapshot: Snapshot) -> dict[str, int]:
    clusters = snapshot.totals.clusters
    return dict(zip(place_names(len(clusters)), clusters, strict=True))


def _counter(name: str, text: str, label: str, values: dict[str, int] | dict[str, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=[label] if label else [])
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


def _histogram(name: str, text: str, edges: tuple[float, ...], found: dict[str, Histogram], label: str) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=[label] if label else [])
    names = [*map(str, edges), "+Inf"]
    for key, one in found.items():
        buckets = list(zip(names, map(float, accumulate(one.counts)), strict=True))
        family.add_metric([key] if label else [], buckets, one.total)
    return family
