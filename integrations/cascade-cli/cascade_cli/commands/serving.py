"""Commands that answer: over HTTP, or as a tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cascade_cli.app import app

Prices = Annotated[
    str | None, typer.Option(help="USD per million tokens of each model, in/out: 0.15/0.6,2.5/10. Else: the policy's.")
]


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
    prices: Prices = None,
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


@app.command()
def serve(
    policy: Annotated[Path, typer.Argument(help="The policy's folder; a new policy that is put there takes over.")],
    pool: Annotated[
        str,
        typer.Option(
            help="The policy's models: pool.yaml, or NAME=MODEL or MODEL, as in "
            "small=openai:gpt-4o-mini,large=openai:gpt-4o; embedded ones, too."
        ),
    ],
    prices: Prices = None,
    host: Annotated[
        str, typer.Option(help="The address. Without keys, who can reach it can spend your money.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any that is free.", min=0, max=65535)] = 8000,
    name: Annotated[str, typer.Option(help="What the cascade is called as a model.")] = "cascade",
    point: Annotated[
        list[str] | None,
        typer.Option(help="Operating point that /v1/models lists: 0.98 (retention) or budget=0.002; repeat."),
    ] = None,
    expose_pool: Annotated[
        bool, typer.Option("--expose-pool", help="Let clients name a member of the pool: cascade:model=small.")
    ] = False,
    api_keys_from: Annotated[
        str | None,
        typer.Option(help="A file with a key a line, or an environment variable with keys between commas."),
    ] = None,
    max_request_bytes: Annotated[int, typer.Option(help="The longest body that is read.", min=1)] = 8 * 2**20,
    max_concurrency: Annotated[int, typer.Option(help="Completions at a time; more get status 429.", min=1)] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds for a whole answer, until status 504.", min=0.001)] = 600.0,
    watch: Annotated[
        float, typer.Option(help="Seconds between looks for a new policy; 0: on SIGHUP only.", min=0)
    ] = 2.0,
) -> None:
    """Put the cascade behind OpenAI's API: chat completions, models, health and metrics."""
    from cascade_cli.gateway import ServeOptions, read_keys, run_gateway
    from cascade_server.settings import GatewaySettings

    settings = GatewaySettings(
        name=name,
        points=tuple(point) if point else GatewaySettings.points,
        expose_pool=expose_pool,
        api_keys=read_keys(api_keys_from),
        max_request_bytes=max_request_bytes,
        max_concurrency=max_concurrency,
        timeout_s=timeout,
        watch_s=watch,
        reload_on_hangup=True,
    )
    run_gateway(ServeOptions(policy, pool, prices, host, port, settings))
