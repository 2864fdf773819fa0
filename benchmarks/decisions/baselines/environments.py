"""A virtual environment for a peer's package, kept: peers may pin what this project pins otherwise."""

import shutil
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

HOME = user_cache_path("cascade-components") / "decisions-environments"
CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
INSTALL_SECONDS = 900


def interpreter(package: str, needed: tuple[str, ...]) -> Path:
    """The Python that has a package installed, and of what it depends on what is needed; made if it isn't there yet.

    Raises:
        subprocess.CalledProcessError: They can't be installed.
    """
    home = HOME / package
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join((sys.version, package, *needed, CONSTRAINTS.read_text()))
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    _run([*install, "--constraint", str(CONSTRAINTS), *needed])
    _run([*install, "--no-deps", package])
    stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
