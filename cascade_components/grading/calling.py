"""A grader of the user's own: a Python function, named module:function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cascade_components.grading.grader import Needs, UngradableError
from cascade_components.grading.question import Question


@dataclass(frozen=True)
class Callback:
    """Calls `function(question, output)`, which says 0…1, or True or False.

    Args:
        name: What it is called.
        function: Its errors become "ungradable", with their kind.
    """

    name: str
    function: Callable[[Question, str], Any]
    needs: ClassVar[Needs] = "nothing"

    @classmethod
    def load(cls, name: str) -> Callback:
        """Import `module:function`; modules of the working folder are found, too.

        Raises:
            ValueError: It cannot be imported, or cannot be called.
        """
        module, _, path = name.partition(":")
        here = str(Path.cwd())
        sys.path.insert(0, here)
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        except Exception as error:  # a module may raise anything when imported
            msg = f"--grader {name}: {module} cannot be imported, or has no {path} ({type(error).__name__}: {error})."
            raise ValueError(msg) from error
        finally:
            sys.path.remove(here)
        if not callable(found):
            msg = f"--grader {name} is no function of (question, output)."
            raise ValueError(msg)
        return cls(name, found)

    def __call__(self, question: Question, output: str) -> Any:
        """What the function says."""
        try:
            return self.function(question, output)
        except UngradableError:
            raise
        except Exception as error:
            msg = f"{self.name} raised {type(error).__name__}: {error}"
            raise UngradableError(msg) from error
