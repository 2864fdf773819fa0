"""Where one call's own settings stand: under `configurable` in its config."""

from __future__ import annotations

from typing import cast

from langchain_core.runnables import RunnableConfig

from cascade_components.serving.settings import CallSettings


def take_settings(config: RunnableConfig) -> tuple[CallSettings, RunnableConfig]:
    """Take the cascade's settings out of a config; what is left is what the wrapped models see.

    Raises:
        ValueError: A setting is unknown, or there is more than one operating point.
    """
    configurable = dict(config.get("configurable") or {})
    given = configurable.pop("cascade", None)
    rest = cast("RunnableConfig", {**config, "configurable": configurable})
    return CallSettings.read(given, 'config["configurable"]["cascade"]'), rest
