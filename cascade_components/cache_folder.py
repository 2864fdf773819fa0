"""Where what can be made again is kept between processes."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The folder that the environment variable CASCADE_CACHE names, else the user's cache folder of this library."""
    named = os.environ.get("CASCADE_CACHE")
    return Path(named) if named else user_cache_path("cascade-components", appauthor=False)
