"""A virtual environment for each peer, kept in the user's cache folder: peers pin what this project pins otherwise."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from platformdirs import user_cache_path

HOME = user_cache_path("cascade-components") / "peers"
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
INSTALL_SECONDS = 900


class NotInstalledError(Exception):
    """A peer can't be installed; the message says why."""


def interpreter(
    name: str,
    *requirements: str,
    without_dependencies: tuple[str, ...] = (),
    constrained: bool = False,
    shared: bool = False,
    home: Path = HOME,
) -> Path:
    """The Python that has a peer installed; made where it isn't there yet, or is not as wanted.

    Args:
        name: Of the environment.
        requirements: What it has, with all that they need.
        without_dependencies: What it has beside them, without what these need.
        constrained: Whether what it shares with this project has this project's version.
        shared: Whether it sees this project's packages, too: torch alone is larger than all the rest. Where versions
            clash, the environment's come first.
        home: Where environments are kept.

    Raises:
        NotInstalledError: It can't be installed.
    """
    folder = home / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    parts = [sys.version, *requirements, *without_dependencies, f"{constrained} {shared}"]
    wanted = "\n".join([*parts, CONSTRAINTS.read_text(encoding="utf-8") if constrained else ""])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    if shared:
        packages = next(folder.glob("lib/python*/site-packages"))
        (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    limits = ["--constraint", str(CONSTRAINTS)] if constrained else []
    _run(*install, *limits, *requirements)
    if without_dependencies:
        _run(*install, "--no-deps", *without_dependencies)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        msg = f"not installed within {INSTALL_SECONDS} s"
        raise NotInstalledError(msg) from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [f"exit {error.returncode}"]
        raise NotInstalledError(lines[0].removeprefix("ERROR: ")) from None
