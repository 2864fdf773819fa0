"""LangChain's conformance suite on our chat model and on its peers, side by side, as a Markdown table.

Every candidate wraps the same fake chat model, which passes alone, so that a failure is the candidate's. Peers are
installed from the package index, each into an environment of its own (kept: 1.6 GB in all); the tests themselves run
without network. `python benchmarks/standard_tests`, or `--only NAME`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # what the benchmarks share

from candidates import CANDIDATES, Candidate
from environments import HOME, NotInstalledError, interpreter
from results import NotRunError, Result, markdown, read, row
from tqdm import tqdm

SUITE = Path(__file__).parent / "suite"
SUITE_REQUIREMENTS = ("langchain-core", "langchain-tests", "pytest-socket", "pytest-timeout")
RUN_SECONDS = 300

NOTES = """
- More skipped than in the control: the class does not declare the capability.
- "first is down": two models are asked; the six cases of `test_structured_output` and its async twin allow one run.
- "draft rejected": a text is; a draft of tool calls is judged by other rules in both cascades, and stands here.
"""


def main() -> None:
    """Run what was asked for, and print the table."""
    arguments = _arguments()
    chosen = [one for one in CANDIDATES if not arguments.only or one.name in arguments.only]
    rows = []
    versions: set[str] = set()
    runs = [(candidate, *fixture) for candidate in chosen for fixture in candidate.fixtures.items()]
    for candidate, title, fixture in (bar := tqdm(runs, disable=None, leave=False)):
        bar.set_description(f"{candidate.name}: {title or 'alone'}")
        try:
            result: Result | str = _measure(_interpreter(candidate, arguments.environments), fixture)
        except (NotInstalledError, NotRunError) as reason:
            result = str(reason)
        if isinstance(result, Result):
            versions.update(f"{name} {version}" for name, version in result.versions.items())
        rows.append(row(candidate.title, title, result))
    print(markdown(rows))
    print(f"\nPython {sys.version.split()[0]}, {', '.join(sorted(versions)) or 'nothing measured'}.")
    print(NOTES.rstrip())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standard_tests", description=__doc__)
    parser.add_argument(
        "--environments",
        type=Path,
        default=HOME / "standard-tests",
        help="where the peers' environments are kept (%(default)s)",
    )
    names = [candidate.name for candidate in CANDIDATES]
    parser.add_argument("--only", action="append", choices=names, help="a candidate; may be given again")
    return parser.parse_args()


def _interpreter(candidate: Candidate, home: Path) -> Path:
    if not candidate.requirements:
        return Path(sys.executable)
    return interpreter(candidate.name, *candidate.requirements, *SUITE_REQUIREMENTS, constrained=True, home=home)


def _measure(python: Path, fixture: str) -> Result:
    quiet = {"LANGSMITH_TRACING": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **quiet, "STANDARD_TESTS_FIXTURE": fixture}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "--quiet", f"--junitxml={report}", "test_standard.py"]
        try:
            done = subprocess.run(
                command, cwd=SUITE, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            msg = f"no end within {RUN_SECONDS} s"
            raise NotRunError(msg) from None
        if not report.is_file():
            output = (done.stderr or done.stdout).strip().splitlines()
            raise NotRunError(output[-1] if output else f"pytest ended with exit code {done.returncode}")
        return read(report)


if __name__ == "__main__":
    main()
