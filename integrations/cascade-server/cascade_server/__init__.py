"""A cascade as a server.

`create_app` makes an OpenAI-compatible gateway of it; `cascade_server.mcp` offers it to agents of any framework, over
the Model Context Protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade_components.lazy import loaded_when_used

if TYPE_CHECKING:
    from cascade_server.app import create_app
    from cascade_server.settings import GatewaySettings, Pool

_HOMES = {"create_app": "app", "GatewaySettings": "settings", "Pool": "settings"}
"""Loaded when first used: the MCP server needs nothing of the gateway, and the other way round."""

__all__ = ["GatewaySettings", "Pool", "create_app"]

__getattr__, __dir__ = loaded_when_used(__name__, _HOMES)
