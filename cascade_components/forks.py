"""What a forked process must not inherit: locks that somebody held, and threads that are not there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Forgetful(Protocol):
    """Has locks or threads, and can do without them."""

    def forget(self) -> None:
        """Make them anew."""


def after_fork(action: Callable[[], None]) -> None:
    """Call `action` in every process that is forked from this one, where the system can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)


def forget_after_fork(one: Forgetful) -> None:
    """Have an object `forget` in every forked process, as long as it lives."""
    _alive.add(one)


_alive: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def _forget() -> None:
    for one in list(_alive):
        one.forget()


after_fork(_forget)
