"""A monitor's counts as OpenTelemetry metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from cascade_components.monitoring.monitor import Monitor, Snapshot
from cascade_components.monitoring.totals import SCORE_EDGES, place_names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

Reading = Iterator[tuple[float, Mapping[str, str]]]
"""Values and their attributes."""


def observe_with(meter: Meter, monitor: Monitor) -> None:
    """Make observable instruments of a meter that read the monitor whenever metrics are collected.

    Attributes are the policy's models (and "other"), its clusters (and "out_of_map"), and the names of the drift tests.
    OpenTelemetry has no observable histogram: `cascade.scores` counts the answers up to each bound, attribute "up_to".

    Args:
        meter: Of opentelemetry-api.
        monitor: What is read.

    Raises:
        ImportError: opentelemetry-api is not there.

    Example:
        >>> from opentelemetry.metrics import get_meter     # doctest: +SKIP
        >>> observe_with(get_meter("cascade"), monitor)     # doctest: +SKIP
    """
    try:
        from opentelemetry.metrics import Observation
    except ImportError:
        msg = 'observe_with needs opentelemetry-api: pip install "cascade-components[monitoring]".'
        raise ImportError(msg) from None

    def reader(read: Callable[[Snapshot], Reading]) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda _: [Observation(value, dict(attributes)) for value, attributes in read(monitor.snapshot())]

    counters: dict[str, tuple[str, str, Callable[[Snapshot], Reading]]] = {
        "calls": ("{call}", "Calls that a model answered.", lambda seen: _by_model(seen.totals.calls)),
        "escalations": (
            "{call}",
            "Calls whose first answer was judged weak.",
            lambda seen: _by_model(seen.totals.escalations),
        ),
        "failures": ("{failure}", "Failures of a model.", lambda seen: _by_model(seen.totals.failures)),
        "fallbacks": (
            "{call}",
            "Calls that went on without a model that had failed.",
            lambda seen: _one(seen.totals.fallbacks),
        ),
        "estimator_failures": (
            "{call}",
            "Calls in which an estimator could not read an answer.",
            lambda seen: _one(seen.totals.estimator_failures),
        ),
        "cost": ("USD", "Cost of the calls whose cost is known.", lambda seen: _one(seen.totals.cost)),
        "latency": ("s", "Time from question to answer, summed up.", lambda seen: _one(seen.totals.latency.total)),
        "scores": ("{answer}", "Answers with P(correct) up to a bound.", _scores),
        "clusters": ("{call}", "Calls by cluster of their query.", _clusters),
        "windows": ("{window}", "Windows in which drift was looked for.", lambda seen: _one(seen.drift.windows)),
    }
    for name, (unit, text, read) in counters.items():
        meter.create_observable_counter(f"cascade.{name}", [reader(read)], unit, text)
    meter.create_observable_gauge("cascade.drift", [reader(_drifted)], "1", "1 where the last window has drifted.")
    meter.create_observable_gauge("cascade.drift.effect", [reader(_effects)], "1", "How far the last window is off.")


def _one(value: float) -> Reading:
    yield value, {}


def _by_model(values: Mapping[str, int]) -> Reading:
    for model, value in values.items():
        yield value, {"model": model}


def _scores(seen: Snapshot) -> Reading:
    bounds = [*map(str, SCORE_EDGES), "1.0"]
    for model, found in seen.totals.scores.items():
        for bound, count in zip(bounds, accumulate(found.counts), strict=True):
            yield count, {"model": model, "up_to": bound}


def _clusters(seen: Snapshot) -> Reading:
    clusters = seen.totals.clusters
    for name, count in zip(place_names(len(clusters)), clusters, strict=True):
        yield count, {"cluster": name}


def _drifted(seen: Snapshot) -> Reading:
    for metric in seen.drift.metrics:
        yield int(metric.drifted), {"metric": metric.name}


def _effects(seen: Snapshot) -> Reading:
    for metric in seen.drift.metrics:
        if metric.effect is not None:
            yield metric.effect, {"metric": metric.name}
