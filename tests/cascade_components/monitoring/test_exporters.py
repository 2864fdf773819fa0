import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import cascade_components as cc
from tests.cascade_components.monitoring.driving import World, serve


@pytest.fixture(scope="module")
def used(policy):
    monitor = cc.Monitor(policy, window=150)
    traces, _ = serve(policy, World().queries(200), monitor, cost=2.0)
    return monitor, traces


class TestPrometheus:
    @pytest.fixture
    def samples(self, used):
        registry = CollectorRegistry()
        registry.register(cc.prometheus_collector(used[0]))
        families = text_string_to_metric_families(generate_latest(registry).decode())
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def test_counts_are_those_of_the_calls(self, used, samples):
        _, traces = used
        for model in ("small", "medium", "large"):
            assert samples["cascade_calls_total", model] == sum(trace.model == model for trace in traces)
            weak = sum(trace.escalated and trace.path[0] == model for trace in traces)
            assert samples["cascade_escalations_total", model] == weak
        for cluster in range(3):
            assert samples["cascade_cluster_calls_total", str(cluster)] == sum(t.cluster == cluster for t in traces)
        assert samples["cascade_cluster_calls_total", "out_of_map"] == sum(t.cluster is None for t in traces)
        assert samples["cascade_cost_usd_total",] == pytest.approx(used[0].snapshot().totals.cost)
        assert samples["cascade_windows_total",] == 1
        assert samples["cascade_latency_seconds_bucket", "0.05"] == samples["cascade_latency_seconds_count",] == 200

    def test_histograms_of_scores_add_up(self, used, samples):
        _, traces = used
        scores = [trace.scores[0] for trace in traces if trace.path[0] == "small" and trace.scores[0] is not None]
        assert samples["cascade_score_count", "small"] == len(scores)
        assert samples["cascade_score_sum", "small"] == pytest.approx(sum(scores))
        assert samples["cascade_score_bucket", "0.5", "small"] == sum(score <= 0.5 for score in scores)

    def test_drift_is_told_by_metric(self, used, samples):
        assert used[0].drift().drifted == ("cost",)
        drifted = {key[1]: value for key, value in samples.items() if key[0] == "cascade_drift"}
        assert drifted.pop("cost") == 1
        assert len(drifted) == 5
        assert not any(drifted.values())
        assert samples["cascade_drift_effect", "cost"] > 0.5
        assert samples["cascade_cluster_expected_share", "0"] == pytest.approx(1 / 3, abs=0.01)

    def test_two_monitors_need_two_names(self, used):
        registry = CollectorRegistry(auto_describe=True)  # as the default one is
        registry.register(cc.prometheus_collector(used[0]))
        registry.register(cc.prometheus_collector(used[0], namespace="other"))
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(cc.prometheus_collector(used[0]))


class TestOpenTelemetry:
    @pytest.fixture
    def points(self, used):
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        cc.observe_with(provider.get_meter("cascade"), used[0])
        data = reader.get_metrics_data()
        metrics = [m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]
        yield {
            (metric.name, *point.attributes.values()): point.value
            for metric in metrics
            for point in metric.data.data_points
        }
        provider.shutdown()

    def test_counts_are_those_of_the_calls(self, used, points):
        monitor, traces = used
        assert points["cascade.calls", "small"] == sum(trace.model == "small" for trace in traces)
        assert points["cascade.scores", "small", "1.0"] == sum(trace.path[0] == "small" for trace in traces)
        assert points["cascade.clusters", "0"] == sum(trace.cluster == 0 for trace in traces)
        assert points["cascade.cost",] == pytest.approx(monitor.snapshot().totals.cost)
        assert points["cascade.latency",] == pytest.approx(200 * 0.04)
        assert points["cascade.drift", "cost"] == 1
        assert points["cascade.drift", "clusters"] == 0
        assert points["cascade.drift.effect", "cost"] > 0.5


@pytest.mark.parametrize(
    ("library", "export"),
    [
        ("prometheus_client", lambda monitor: cc.prometheus_collector(monitor)),
        ("opentelemetry", lambda monitor: cc.observe_with(None, monitor)),
    ],
)
def test_a_missing_library_is_named(used, monkeypatch, library, export):
    for name in [name for name in sys.modules if name.split(".")[0] == library] + [library]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "cascade-components\[monitoring\]"'):
        export(used[0])
