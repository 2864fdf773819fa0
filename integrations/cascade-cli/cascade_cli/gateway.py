"""`cascade serve`: a policy and its pool behind OpenAI's API, until the process is stopped."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cascade_cli.listening import listen, url_of
from cascade_cli.pools import make_named_pool

if TYPE_CHECKING:
    from cascade_server import GatewaySettings, Pool


@dataclass(frozen=True)
class ServeOptions:
    """What the command line says."""

    policy: Path
    pool: str
    """pool.yaml, or the models as `make_named_pool` takes them."""
    prices: str | None
    host: str
    port: int
    settings: GatewaySettings


def run_gateway(options: ServeOptions) -> None:
    """Serve a cascade until the process is stopped; requests that are being answered then are finished.

    Raises:
        ImportError: A package is missing; the message names it.
        OSError: The port is in use, or a file cannot be read.
        ValueError: The folder holds no policy, the pool is not the policy's, or a key is missing.
    """
    # Else torch's threads spin between two questions, and take the processor from those who could use it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import uvicorn

        from cascade_server.app import create_app
    except ImportError as error:
        msg = f'The gateway needs the extra [server]: pip install "cascade-components[server]" ({error.name}).'
        raise ImportError(msg) from None
    with listen(options.host, options.port) as listener:
        app = create_app(options.policy, partial(served_pool, options.pool, options.prices), options.settings)
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("cascade_server").setLevel(logging.INFO)
        typer.echo(f"Gateway at {url_of(options.host, listener)}/v1", err=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def served_pool(pool: str, prices: str | None) -> Pool:
    """Make the models that a policy names, and say what their tokens cost.

    Args:
        pool: pool.yaml, as `cascade capture` reads it; or "small=openai:gpt-4o-mini,large=openai:gpt-4o".
        prices: USD per million tokens of each model, in the order of the pool; for pool.yaml, they stand there.

    Raises:
        ImportError: A package is missing; the message names it.
        OSError: The file cannot be read.
        ValueError: A model is unknown, a key is missing, or prices don't fit.
    """
    from cascade_server.settings import Pool

    if not pool.endswith((".yaml", ".yml")):
        made = make_named_pool(pool, prices)
        return Pool(made.models, made.usd_per_token)
    if prices is not None:
        msg = f"--prices is for models on the command line; {pool} has a price beside each model."
        raise ValueError(msg)
    from cascade_cli.capture_pool import make_members, read_pool_file

    path = Path(pool)
    members = make_members(read_pool_file(path).models, path)
    priced = {name: member.price for name, member in members.items() if member.price is not None}
    return Pool({name: member.model for name, member in members.items()}, priced)


def read_keys(source: str | None) -> tuple[str, ...]:
    """The API keys that clients may show.

    Args:
        source: A file with a key a line, or the name of an environment variable with keys between commas.

    Raises:
        ValueError: There is no key there.
    """
    if source is None:
        return ()
    path = Path(source)
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    else:
        found = [key.strip() for key in os.environ.get(source, "").split(",") if key.strip()]
    if not found:
        msg = f"--api-keys-from: {source} is neither a file with a key a line nor an environment variable with keys."
        raise ValueError(msg)
    return tuple(found)
