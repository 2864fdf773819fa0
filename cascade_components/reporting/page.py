"""One HTML page that needs nothing else: figures, tables, and the replay's numbers as JSON."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import asdict
from importlib import resources
from typing import Any

from cascade_components.reporting.figures import Figures
from cascade_components.reporting.findings import Findings
from cascade_components.reporting.points import Point
from cascade_components.reporting.wording import UNKNOWN, Unit, cut, number, percent

Cell = dict[str, Any]
"""Of a table: its text, and what it is sorted by."""


def page(found: Findings, figures: Figures) -> str:
    """Render the page.

    What the outcomes say is text wherever it stands: the template escapes it, and the script that is allowed to run is
    named by its hash.

    Raises:
        ImportError: jinja2 is not there.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cascade_components", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters |= {"percent": percent, "cost": found.unit.text, "number": number, "cut": cut}
    script = _asset("page.js")
    return environment.get_template("page.html.j2").render(
        found=found,
        figures=figures,
        points=[_point(found, point) for point in found.points],
        data=data(found),
        style=_asset("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def data(found: Findings) -> dict[str, Any]:
    """What the page carries for programs: plain JSON data; `evaluation` is what `cascade evaluate --json` prints."""
    plain: dict[str, Any] = {
        "policy": found.policy.fingerprint,
        "chosen": found.chosen,
        "evaluation": found.evaluation.to_dict(),
        "points": [_point(found, point) for point in found.points],
        "baselines": [asdict(one) for one in (*found.alone, *found.others)],
        "without": {model: one.to_dict() for model, one in found.without.items()},
        "reliability": [asdict(one) for one in found.reliabilities],
        "gates": found.gates,
        "thresholds": [asdict(one) for one in found.curves],
        "escalations": [asdict(one) for one in found.escalations],
        "words": found.words,
    }
    found_plain: dict[str, Any] = _finite(plain)
    return found_plain


def _point(found: Findings, point: Point) -> dict[str, Any]:
    """An operating point: its replay, and the texts that the page shows of it."""
    ev, unit = point.evaluation, found.unit
    interval = {name: ev.intervals[name] for name in ("accuracy", "cost", "retention", "escalation_rate")}
    shares = {name: percent(getattr(ev, name)) for name in ("accuracy", "retention", "escalation_rate")}
    ranges = {
        f"{name}_interval": _range(*(unit.text(bound) if name == "cost" else percent(bound) for bound in bounds))
        for name, bounds in interval.items()
    }
    return {
        "evaluation": ev.to_dict(),
        "shown": {
            "target": str(point.policy.target),
            "cost": unit.text(ev.cost),
            "cost_share": percent(ev.cost / ev.strongest_cost if ev.strongest_cost else math.nan),
            "cost_weight": f"{ev.cost_weight:.3g}",
            "tpot_ms": number(ev.tpot_ms),
            "e2el_ms": number(ev.e2el_ms),
            **shares,
            **ranges,
        },
        "rows": _rows(point, unit),
    }


def _rows(point: Point, unit: Unit) -> list[list[Cell]]:
    """The cells of the routing table that change with the operating point; a row for each cluster."""
    policy = point.policy
    table, options = policy.table, policy.point.options
    costs, observed = table.cost(policy.factors), {row.cluster: row for row in point.evaluation.by_cluster}
    rows: list[list[Cell]] = []
    for cluster, (option, plan) in enumerate(zip(options, policy.plans(), strict=True)):
        here = observed.get(cluster)
        accuracy, cost = float(table.accuracy[option, cluster]), float(costs[option, cluster])
        rows.append(
            [
                {"text": plan.start, "sort": plan.start},
                {"text": "yes" if plan.target else "no", "sort": int(plan.target is not None)},
                {
                    "text": UNKNOWN if plan.threshold is None else f"{plan.threshold:.2f}",
                    "sort": -1 if plan.threshold is None else plan.threshold,
                },
                {"text": plan.target or UNKNOWN, "sort": plan.target or ""},
                {"text": percent(accuracy), "sort": accuracy},
                {"text": percent(here.accuracy if here else None), "sort": here.accuracy if here else -1},
                {"text": unit.text(cost), "sort": cost},
                {"text": unit.text(here.cost if here else None), "sort": here.cost if here else -1},
                {"text": percent(here.escalation_rate if here else None), "sort": here.escalation_rate if here else -1},
            ]
        )
    return rows


def _range(low: str, high: str) -> str:
    return UNKNOWN if UNKNOWN in (low, high) else f"{low} … {high}"


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: what is not known, or without end, is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _asset(name: str) -> str:
    return (resources.files("cascade_components.reporting") / name).read_text(encoding="utf-8")
