"""Cascade Components: the strongest chat model's accuracy at a fraction of its cost.

    outcomes = load_outcomes("outcomes.jsonl.gz")
    policy = fit(outcomes, retention=0.98)
    policy.save("policy/")
    cascade = Cascade(policy)

`CascadeChatModel` (LangChain) lives in `langchain_cascade`. Heavy modules load when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade_components.lazy import loaded_when_used

if TYPE_CHECKING:
    from cascade_components.answers import Answer
    from cascade_components.cascade import AllModelsFailed, Cascade, QualityEstimator, Router
    from cascade_components.certificate import Certificate
    from cascade_components.certifying import calibration_split, certify
    from cascade_components.cre import read_cre_artifacts
    from cascade_components.cre_stats import read_cre_stats
    from cascade_components.encoders import DistilledEncoder, Encoder, SentenceTransformerEncoder, StaticEncoder
    from cascade_components.evaluation import Evaluation, evaluate, sweep
    from cascade_components.explaining import Explanation, explain
    from cascade_components.fitting import add_model, fit
    from cascade_components.monitoring.drift import DriftReport
    from cascade_components.monitoring.feedback import Feedback
    from cascade_components.monitoring.monitor import Monitor
    from cascade_components.monitoring.opentelemetry import observe_with
    from cascade_components.monitoring.prometheus import prometheus_collector
    from cascade_components.monitoring.shadow import Shadow, ShadowAnswer
    from cascade_components.outcomes import Outcome, Outcomes, load_outcomes
    from cascade_components.policy import CascadePolicy
    from cascade_components.pricing import TokenPrice
    from cascade_components.quality.head import EmbeddingHead
    from cascade_components.quality.margins import MarginEstimator
    from cascade_components.quality.module import ModuleEstimator
    from cascade_components.quality.sequence import SequenceHead
    from cascade_components.reporting.report import Report, report
    from cascade_components.serving.resilience import Resilience
    from cascade_components.spending import SpendLimit, SpendLimitError
    from cascade_components.trace import EarlyRelease, Plan, Route, Trace

__version__ = "0.1.0"

_HOMES = {
    "AllModelsFailed": "cascade",
    "Answer": "answers",
    "Cascade": "cascade",
    "CascadePolicy": "policy",
    "Certificate": "certificate",
    "DistilledEncoder": "encoders",
    "DriftReport": "monitoring.drift",
    "EarlyRelease": "trace",
    "EmbeddingHead": "quality.head",
    "Encoder": "encoders",
    "Evaluation": "evaluation",
    "Explanation": "explaining",
    "Feedback": "monitoring.feedback",
    "MarginEstimator": "quality.margins",
    "ModuleEstimator": "quality.module",
    "Monitor": "monitoring.monitor",
    "Outcome": "outcomes",
    "Outcomes": "outcomes",
    "Plan": "trace",
    "QualityEstimator": "cascade",
    "Report": "reporting.report",
    "Resilience": "serving.resilience",
    "Route": "trace",
    "Router": "cascade",
    "SentenceTransformerEncoder": "encoders",
    "SequenceHead": "quality.sequence",
    "Shadow": "monitoring.shadow",
    "ShadowAnswer": "monitoring.shadow",
    "SpendLimit": "spending",
    "SpendLimitError": "spending",
    "StaticEncoder": "encoders",
    "TokenPrice": "pricing",
    "Trace": "trace",
    "add_model": "fitting",
    "calibration_split": "certifying",
    "certify": "certifying",
    "evaluate": "evaluation",
    "explain": "explaining",
    "fit": "fitting",
    "load_outcomes": "outcomes",
    "observe_with": "monitoring.opentelemetry",
    "prometheus_collector": "monitoring.prometheus",
    "read_cre_artifacts": "cre",
    "read_cre_stats": "cre_stats",
    "report": "reporting.report",
    "sweep": "evaluation",
}

_ELSEWHERE = {
    "CascadeChatModel": ("langchain_cascade", "langchain"),
    "CascadeDecisionModel": ("langchain_cascade", "langchain"),
    "CascadeMiddleware": ("langchain_cascade", "langchain"),
    "CascadeTool": ("langchain_cascade", "langchain"),
    "CascadeToolSpec": ("llama_index.tools.cascade", "llama-index"),
    "ChatLocal": ("cascade_local", "local"),
    "ExplainTool": ("langchain_cascade", "langchain"),
    "capture": ("langchain_cascade", "langchain"),
    "sanitize_history": ("langchain_cascade", "langchain"),
}

__all__ = [
    "AllModelsFailed",
    "Answer",
    "Cascade",
    "CascadePolicy",
    "Certificate",
    "DistilledEncoder",
    "DriftReport",
    "EarlyRelease",
    "EmbeddingHead",
    "Encoder",
    "Evaluation",
    "Explanation",
    "Feedback",
    "MarginEstimator",
    "ModuleEstimator",
    "Monitor",
    "Outcome",
    "Outcomes",
    "Plan",
    "QualityEstimator",
    "Report",
    "Resilience",
    "Route",
    "Router",
    "SentenceTransformerEncoder",
    "SequenceHead",
    "Shadow",
    "ShadowAnswer",
    "SpendLimit",
    "SpendLimitError",
    "StaticEncoder",
    "TokenPrice",
    "Trace",
    "add_model",
    "calibration_split",
    "certify",
    "evaluate",
    "explain",
    "fit",
    "load_outcomes",
    "observe_with",
    "prometheus_collector",
    "read_cre_artifacts",
    "read_cre_stats",
    "report",
    "sweep",
]

_load, __dir__ = loaded_when_used(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        package, extra = _ELSEWHERE[name]
        msg = f'{name} lives in {package}: pip install "cascade-components[{extra}]", then import it from there.'
        raise AttributeError(msg)
    return _load(name)
