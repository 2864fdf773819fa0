"""What a model's error means for a capture, and how it is told."""

from __future__ import annotations

from cascade_components.failures import http_status, told
from langchain_cascade.captures.member import Member

_KEY_REFUSED = frozenset({401, 403})
_FINAL = frozenset({401, 403, 404})
"""Statuses that every further question would get, too."""

_LONGEST = 300


def is_final(error: BaseException) -> bool:
    """Whether there is no point in asking this model anything else."""
    return http_status(error) in _FINAL


def explained(member: Member, error: BaseException) -> str:
    """An error as its user must see it: without keys. Goes to the terminal only, never into a file."""
    if http_status(error) in _KEY_REFUSED:
        key = f"the key in {member.key_name}" if member.key_name else "its key"
        return f"{told(error)}: {key} was refused; set it to a key that may use this model"
    # A connection's own error tells nothing; what lies behind it does.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) or not str(error) else None
    text = member.shown(str(cause or error))
    return f"{told(error)}: {text[:_LONGEST]}" if text else told(error)
