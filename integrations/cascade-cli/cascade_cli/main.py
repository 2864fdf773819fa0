"""`cascade`: its entry point, and how bad input is told."""

from __future__ import annotations

import os
import sys

import typer

from cascade_cli.app import app
from cascade_cli.commands import outcomes, policies, quickstart, serving

__all__ = ["app", "outcomes", "policies", "quickstart", "run", "serving"]


def run() -> None:
    """Entry point: bad input is one clear line on standard error and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError, RuntimeError, ExceptionGroup) as error:
        if os.environ.get("CASCADE_DEBUG"):
            raise
        typer.echo(f"cascade: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("cascade: stopped; what was captured is kept.", err=True)
        sys.exit(130)
