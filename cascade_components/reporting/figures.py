"""The report's figures, by the section that they stand in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cascade_components.reporting.findings import Findings
from cascade_components.reporting.front_figure import front_figure
from cascade_components.reporting.gate_figures import escalation_figure, reliability_figure, threshold_figure
from cascade_components.reporting.map_figure import map_figure
from cascade_components.reporting.style import Drawing, finished, look
from cascade_components.reporting.without_figure import without_figure

Figures = Mapping[str, list[Drawing]]

PNG_NAME = re.compile(r"(front|map|(reliability|thresholds)-[1-9][0-9]*|escalations|without)\.png")
"""What the figures of any report are called as PNGs."""


def draw(found: Findings) -> Figures:
    """All figures; a section of which nothing is known has none."""
    with look():
        return {
            "front": [finished("front", "Accuracy against cost", front_figure(found))],
            "map": [finished("map", "Map of the clusters", map_figure(found))],
            "reliability": [
                finished(f"reliability-{number}", f"Reliability: {one.model}", reliability_figure(one))
                for number, one in enumerate(found.reliabilities, 1)
            ],
            "thresholds": [
                finished(f"thresholds-{number}", f"Threshold: {one.start} → {one.target}", threshold_figure(found, one))
                for number, one in enumerate(found.curves, 1)
            ],
            "escalations": [finished("escalations", "What escalations bought", escalation_figure(found.escalations))]
            if found.escalations
            else [],
            "without": [finished("without", "With each model out", without_figure(found))] if found.without else [],
        }
