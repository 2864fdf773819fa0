"""Commands that answer: over HTTP, or as a tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cascade_cli.app import app


@app.command()
def mcp(
    policy: Annotated[Path, typer.Argument(help="The policy's folder.")],
    pool: Annotated[
        str,
        typer.Option(
            help="The policy's models, as NAME=MODEL or MODEL: embedded ones, or names that init_chat_model knows. "
            "small=openai:gpt-4o-mini,large=openai:gpt-4o"
        ),
    ],
    prices: Annotated[
        str | None,
        typer.Option(help="USD per million tokens of each model, in/out: 0.15/0.6,2.5/10. Else: the policy's."),
    ] = None,
    transport: Annotated[
        Literal["stdio", "http"],
        typer.Option(help="stdio serves the one client that starts it; http (streamable HTTP) serves any."),
    ] = "stdio",
    host: Annotated[
        str, typer.Option(help="With http: the address. Who can reach it can spend your money.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With http: the port; 0: any that is free.", min=0, max=65535)] = 8001,
) -> None:
    """Let agents of any framework ask the cascade, over the Model Context Protocol."""
    from cascade_cli.tool_server import run_tool_server

    run_tool_server(policy, pool, prices, address=None if transport == "stdio" else (host, port))
