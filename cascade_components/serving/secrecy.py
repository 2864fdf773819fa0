"""What may not be written down of a model's parameters."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(r"header|api_?key|password|secret|credential|token$|query$", re.IGNORECASE)
_URL_WITH_PASSWORD = re.compile(r"\w+://[^/@\s]*:[^/@\s]*@")


def may_be_secret(name: str, value: Any) -> bool:
    """Whether a parameter may hold a secret, by its name, or as an address with a password in it.

    Example:
        >>> may_be_secret("api_key", "sk-1"), may_be_secret("max_tokens", 9), may_be_secret("url", "http://u:p@host")
        (True, False, True)
    """
    if isinstance(value, str) and _URL_WITH_PASSWORD.search(value):
        return True
    return bool(value) and _NAME.search(name) is not None
