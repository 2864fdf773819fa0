"""`cascade mcp`: a policy and its pool, served to agents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

import cascade_components as cc
from cascade_cli.listening import listen, url_of
from cascade_cli.pools import make_named_pool

if TYPE_CHECKING:
    from langchain_cascade import CascadeChatModel


def run_tool_server(policy: Path, pool: str, prices: str | None, *, address: tuple[str, int] | None) -> None:
    """Serve a cascade over the Model Context Protocol until the client leaves or the process is stopped.

    Args:
        policy: The policy's folder.
        pool: The policy's models, as `make_named_pool` takes them.
        prices: Their prices, as `make_named_pool` takes them.
        address: Host and port for streamable HTTP; None: standard input and output.

    Raises:
        ImportError: A package is missing; the message names it.
        OSError: The address is taken, or a file cannot be read.
        ValueError: The folder holds no policy, or the pool is not the policy's.
    """
    from cascade_server.mcp import claim_stdout, mcp_server, serve_http, serve_stdio

    if address is None:
        protocol = claim_stdout()
        serve_stdio(mcp_server(_cascade(policy, pool, prices), log_level="WARNING"), protocol)
        return
    host, port = address
    server = mcp_server(_cascade(policy, pool, prices), host=host, log_level="WARNING")
    with listen(host, port) as listener:
        typer.echo(f"MCP server at {url_of(host, listener)}/mcp", err=True)
        serve_http(server, listener)


def _cascade(policy: Path, pool: str, prices: str | None) -> CascadeChatModel:
    from langchain_cascade import CascadeChatModel

    found = cc.CascadePolicy.load(policy)  # before the pool: it is the quicker one to say that it is missing
    members = make_named_pool(pool, prices)
    return CascadeChatModel(policy=found, models=members.models, prices=members.usd_per_token or None)
