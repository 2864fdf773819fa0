"""The policy that serves now, and how another one takes its place without a dropped request."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import cascade_components as cc
from cascade_components.serving.servable import token_prices
from cascade_server.asked import routed_text
from cascade_server.settings import GatewaySettings, GivenPool, PolicySource, Pool
from langchain_cascade import CascadeChatModel
from langchain_cascade.pool import check_pool

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A policy with its pool. A call that began with it ends with it."""

    policy: cc.CascadePolicy
    pool: Pool
    cascade: CascadeChatModel
    monitor: cc.Monitor


class Current:
    """Holds what serves now. Reading `served` once gives a call all that it needs.

    Args:
        source: The policy, or its folder.
        pool: The pool, or what makes it.
        settings: The gateway's.

    Raises:
        OSError: The policy cannot be read.
        ValueError: It is damaged, or not this pool's.
    """

    def __init__(self, source: PolicySource, pool: GivenPool, settings: GatewaySettings) -> None:
        self._folder = None if isinstance(source, cc.CascadePolicy) else Path(os.fspath(source))
        self._given_pool, self._settings = pool, settings
        self._mark = self._look()
        policy = source if isinstance(source, cc.CascadePolicy) else cc.CascadePolicy.load(source)
        self.served = self._made(policy, self._pool())
        self.ready = False
        """Whether a first call finds everything loaded."""
        self.since = int(time.time())
        """When it was made, in seconds since 1970."""
        self._turn = asyncio.Lock()

    async def warm_up(self) -> None:
        """Load what a first call would wait for; then it is `ready`."""
        try:
            await asyncio.to_thread(self.served.policy.warm_up)
        except Exception as error:  # an encoder's or an estimator's own
            _log.error("The policy cannot be warmed up: %s: %s", type(error).__name__, error)
        else:
            self.ready = True

    async def watch(self) -> None:
        """Look at the policy's folder, again and again, and serve what is put there."""
        while self._folder is not None and self._settings.watch_s:
            await asyncio.sleep(self._settings.watch_s)
            if self._look() not in (self._mark, None):
                await self.reload()

    async def reload(self) -> bool:
        """Serve the policy that lies in the folder now; say whether it is another one.

        One that is damaged, or is not the pool's, is refused: that is logged, and the old one stays.
        """
        if self._folder is None:
            return False
        async with self._turn:
            self._mark = self._look()
            try:
                fresh = await asyncio.to_thread(self._replacement)
            except Exception as error:  # whatever a policy, a pool, an encoder or an estimator raises
                _log.error("The new policy is refused, the old one stays: %s", " ".join(str(error).split()))
                return False
            if fresh is not None:
                _log.info("Policy %s takes the place of %s.", fresh.policy.fingerprint, self.served.policy.fingerprint)
                self.served = fresh
        return fresh is not None

    def _replacement(self) -> Served | None:
        """What is to serve now, loaded and warm; None: it is what serves already."""
        assert self._folder is not None  # noqa: S101 - for the type checker
        policy = cc.CascadePolicy.load(self._folder)
        if policy.fingerprint == self.served.policy.fingerprint:
            return None
        # The same models: their connections stay open.
        pool = self.served.pool if set(policy.models) == set(self.served.policy.models) else self._pool()
        fresh = self._made(policy, pool)
        policy.warm_up()
        return fresh

    def _made(self, policy: cc.CascadePolicy, pool: Pool) -> Served:
        check_pool(pool.models, policy)
        prices = token_prices(pool.prices, policy)
        monitor = cc.Monitor(policy)
        cascade = CascadeChatModel(
            policy=policy,
            models=pool.models,
            prices=prices,
            query=routed_text,
            resilience=self._settings.resilience,
            monitor=monitor,
        )
        return Served(policy, pool, cascade, monitor)

    def _pool(self) -> Pool:
        pool = self._given_pool() if callable(self._given_pool) else self._given_pool
        return pool if isinstance(pool, Pool) else Pool(pool)

    def _look(self) -> tuple[tuple[str, int, int, int], ...] | None:
        """What tells one state of the folder from another; None: it is not there (for the moment)."""
        if self._folder is None:
            return None
        try:
            with os.scandir(self._folder) as files:
                seen = [(file.name, file.stat()) for file in files]
        except OSError:
            return None
        return tuple(sorted((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in seen))
