"""pytest's JUnit XML → one row of the table."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

SUITES = {"unit": "TestUnit", "integration": "TestIntegration"}
HEADINGS = ("chat model", "in the calls", *(f"{suite}: passed / failed / skipped" for suite in SUITES), "failing tests")
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


class NotRunError(Exception):
    """A candidate could not be measured; the message says why."""


@dataclass(frozen=True)
class Result:
    """How the suite went on one fixture."""

    counts: dict[str, Counter[str]]
    """suite → outcome → how many."""
    failing: Counter[str]
    """Test → how many of its parametrisations failed."""
    versions: dict[str, str]
    """What the suite ran with."""


def read(path: Path) -> Result:
    """Read a report.

    Raises:
        NotRunError: The tests could not be collected.
    """
    report = ET.parse(path).getroot()
    counts: dict[str, Counter[str]] = {suite: Counter() for suite in SUITES}
    failing: Counter[str] = Counter()
    for test in report.iter("testcase"):
        outcome = next((OUTCOMES[child.tag] for child in test if child.tag in OUTCOMES), "passed")
        suite = next((suite for suite, name in SUITES.items() if test.get("classname", "").endswith(f".{name}")), None)
        if suite is None:
            raise NotRunError(_last_error(test))
        counts[suite][outcome] += 1
        if outcome == "failed":
            failing[test.get("name", "").partition("[")[0]] += 1
    versions = {one.get("name", ""): one.get("value", "") for one in report.iter("property")}
    return Result(counts, failing, versions)


def _last_error(test: ET.Element) -> str:
    lines = [line for line in "".join(test.itertext()).splitlines() if line.startswith("E ")]
    return lines[-1].removeprefix("E ").strip() if lines else "the tests were not collected"


def row(title: str, fixture: str, result: Result | str) -> tuple[str, ...]:
    """One row, under `HEADINGS`; a text says why there is no result."""
    if isinstance(result, str):
        return title, fixture, "", "", f"not run: {result}".replace("|", "\\|")
    numbers = (
        " / ".join(str(counts[outcome]) for outcome in ("passed", "failed", "skipped"))
        for counts in result.counts.values()
    )
    failing = (f"`{name}`" + (f" ×{times}" if times > 1 else "") for name, times in result.failing.items())
    return title, fixture, *numbers, ", ".join(failing) or "none"


def markdown(rows: list[tuple[str, ...]]) -> str:
    """The table."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
