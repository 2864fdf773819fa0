"""A virtual environment for each candidate, kept: their pins clash with each other's."""

import shutil
import subprocess
import sys
from pathlib import Path

from candidates import Candidate

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
SUITE_REQUIREMENTS = ("langchain-core", "langchain-tests", "pytest-socket", "pytest-timeout")
INSTALL_SECONDS = 900


class NotRunError(Exception):
    """A candidate could not be measured; the message says why."""


def interpreter(candidate: Candidate, folder: Path) -> Path:
    """The Python that has the candidate installed; made under `folder` if it isn't there yet.

    What a candidate shares with this project is installed in the same version, by `constraints.txt`.

    Raises:
        NotRunError: It can't be installed.
    """
    if not candidate.requirements:
        return Path(sys.executable)
    home = folder / candidate.name
    python = home / "bin" / "python"
    stamp = home / "installed.txt"
    wanted = "\n".join((sys.version, *candidate.requirements, *SUITE_REQUIREMENTS, CONSTRAINTS.read_text()))
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    _run([*install, "--constraint", str(CONSTRAINTS), *candidate.requirements, *SUITE_REQUIREMENTS])
    stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        msg = f"not installed within {INSTALL_SECONDS} s"
        raise NotRunError(msg) from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [f"exit {error.returncode}"]
        raise NotRunError(lines[0].removeprefix("ERROR: ")) from None
