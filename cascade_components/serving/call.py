"""One call on its way through a cascade. Decides and remembers; an adapter does the calling."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cascade_components.answers import Answer
from cascade_components.cascade import AllModelsFailed, Cascade
from cascade_components.pricing import TokenPrice
from cascade_components.quality.checks import failed_checks
from cascade_components.quality.prefixes import checkpoint
from cascade_components.serving.account import Account, Usage
from cascade_components.serving.servable import ServablePolicy
from cascade_components.serving.settings import CallSettings
from cascade_components.serving.turn import Turn, first_trace
from cascade_components.spending import SpendLimit, SpendLimitError
from cascade_components.stickiness import Sticky
from cascade_components.trace import Trace

Release = Literal["judged", "early"]

_KEPT_POLICIES = 16


@dataclass(frozen=True)
class Serving:
    """How a cascade serves: the same from call to call."""

    policy: ServablePolicy
    prices: Mapping[str, TokenPrice] = field(default_factory=dict)
    spend_limit: SpendLimit | None = None
    sticky: Sticky | None = "loop"
    release: Release = "judged"
    remedy: str = ""
    """What to do about a conversation that nobody asks anything in, in the framework's words."""
    points: dict[tuple[str, str, float], ServablePolicy] = field(default_factory=dict, repr=False, compare=False)
    """Operating points solved so far, by policy and target."""

    def policy_for(self, settings: CallSettings, thread: str | None) -> ServablePolicy:
        """The policy at the operating point of a call, cheaper near a spending limit; the last few are kept."""
        name, value = settings.target or ("cheaper", 0.0)
        pressure = self.spend_limit.pressure(thread) if self.spend_limit else 0.0
        if pressure > 0:
            name, value = "cheaper", pressure
        if (name, value) == ("cheaper", 0.0):
            return self.policy
        key = (self.policy.fingerprint, name, value)
        found = self.points.get(key)
        if found is None:
            found = self.policy.cheaper(value) if name == "cheaper" else self.policy.at(**{name: value})
            if len(self.points) >= _KEPT_POLICIES:
                oldest, *_ = list(self.points)  # a copy, for other threads may add to it
                self.points.pop(oldest, None)
            self.points[key] = found
        return found


@dataclass(frozen=True)
class Pass:
    """One wrapped model's answer."""

    model: str
    answer: Any
    """What the adapter made of it."""
    reason: str
    """Why this model was asked."""
    usage: Mapping[str, Any] | None
    """Tokens in the framework's words; None: the model did not tell."""
    latency_ms: float
    cost_usd: float | None

    def to_dict(self) -> dict[str, Any]:
        """The pass as plain data, without the answer: a rejected one stays out of the final message."""
        return {
            "model": self.model,
            "reason": self.reason,
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "latency_ms": round(self.latency_ms, 3),
        }


class ServedCall:
    """The state of one call; it lives no longer than the call.

    An adapter says `begin`; then, until `trace.done`: `open_pass`, calls the model that it names (by a stream where
    `streaming`), and says `close_pass` and `judge`, or `fail`. Of a stream it tells each part by `read`, and may pass
    on what has come while not `held`.
    """

    def __init__(self, serving: Serving, turn: Turn) -> None:
        self.turn = turn
        self.policy = serving.policy_for(turn.settings, turn.thread)
        self.passes: list[Pass] = []
        self.trace: Trace
        self.seen = False
        """Whether something of the answer that comes now has been passed on: it cannot be taken back."""
        self._serving = serving
        self._cascade = Cascade(self.policy)
        self._account = Account(
            self.policy,
            serving.prices,
            serving.spend_limit,
            thread=turn.thread,
            prompt_tokens=turn.prompt_tokens,
            max_tokens=turn.max_tokens,
        )
        self._heard = turn.live
        self._released = False
        self._checkpoint: int | None = None
        self._started = 0.0

    # — decisions —

    def begin(self, *, heard: bool = False) -> None:
        """Choose the first model.

        Args:
            heard: Whether somebody else than the caller reads the answer as it comes.
        """
        self._heard = self.turn.live or heard
        serving = self._serving
        self.trace = first_trace(
            self.policy,
            self.turn,
            self._account,
            sticky=serving.sticky,
            prices=serving.prices,
            remedy=serving.remedy,
        )

    @property
    def held(self) -> bool:
        """Whether the answer of the model asked now can still be rejected, so that nobody may see it yet.

        An estimator or a check rejects it. What is streamed cannot be taken back: where no estimator reads the
        answer and somebody reads the stream, checks reject only where tools or a schema are at stake.
        """
        if self._released:
            return False
        checked = self.turn.shaped or not self._heard
        return self.trace.gated or (checked and self._cascade.can_escalate(self.trace))

    @property
    def streaming(self) -> bool:
        """Whether the model asked now is asked for a stream: the caller reads along, now or once it is released."""
        return self.turn.live and (not self.held or self._serving.release == "early")

    def judge(self, answer: Answer, *, parsed: bool = True) -> None:
        """Judge the answer that came last: it stands, or another model is asked.

        Args:
            answer: What an estimator reads; a tool call whose `args` is no mapping is one that did not parse.
            parsed: False: a structure was asked for, and the answer does not have it.
        """
        turn = self.turn
        failed = failed_checks(
            answer, tools=turn.tools, parsed=parsed, made_calls=turn.made_calls, must_call=turn.must_call
        )
        self.trace = replace(self.trace, available=self._account.payable(self.trace.available))
        if not failed or not self._cascade.can_escalate(self.trace) or not self._was_seen(failed):
            self.trace = self._cascade.judge(self.trace, answer, failed_checks=failed)
            return
        trace = self._cascade.judge(self.trace, answer)
        note = f"it failed the check {', '.join(failed)} after it had been streamed"
        self.trace = replace(trace, failed_checks=(*trace.failed_checks, *failed), reasons=(*trace.reasons, note))

    def _was_seen(self, failed: tuple[str, ...]) -> bool:
        """Whether somebody has seen something of the answer that came last."""
        if self.streaming:
            return self.seen
        return self._heard and not self.held and "empty" not in failed

    def fail(self, error: Exception) -> None:
        """The model asked last raised `error`: choose another one.

        Raises:
            AllModelsFailed: Nobody is left to ask.
            SpendLimitError: Nobody is left who can be paid.
            Exception: `error` itself, if part of the answer has been streamed: it cannot be taken back.
        """
        self._account.close(0.0)
        if self.seen:
            error.add_note(
                f"{self.trace.model} failed after part of its answer had been streamed; nobody else was asked."
            )
            raise error
        try:
            self.trace = self._cascade.fail(self.trace, error)
        except AllModelsFailed:
            if isinstance(error, SpendLimitError):
                raise error from None
            raise

    def abandon(self) -> None:
        """The caller gave the call up: what its open pass cost, nobody knows."""
        self._account.close(None)

    # — one pass —

    def open_pass(self) -> str:
        """Start a pass; return the model to call.

        Raises:
            SpendLimitError: The call would go over the limit.
        """
        self.seen, self._released, self._checkpoint = False, False, None
        self._account.reserve(self.trace.model)
        self._started = time.perf_counter()
        return self.trace.model

    def close_pass(self, answer: Any, usage: Usage | None, told: Mapping[str, Any] | None) -> None:
        """Keep the answer of the pass.

        Args:
            answer: What the adapter made of it.
            usage: Its tokens.
            told: The same in the framework's words.
        """
        latency_ms = (time.perf_counter() - self._started) * 1000
        name = self.trace.model
        cost = self._account.pay(name, usage)
        self.passes.append(Pass(name, answer, self.trace.reasons[-1], told, latency_ms, cost))

    def read(self, text: str) -> bool:
        """Read as much text of a streamed answer as has come; say whether to `consider_release`."""
        if not self.held:
            return False
        if not self.trace.gated:
            return bool(text.strip())
        before, self._checkpoint = self._checkpoint, checkpoint(text)
        return self._checkpoint not in (None, before)

    def consider_release(self, so_far: Answer) -> None:
        """Release a held answer if the estimator is sure enough of what has come; without one, its text passes."""
        if self.trace.gated:
            self.trace = self._cascade.release(self.trace, so_far)
        self._released = not self.trace.gated

    # — the outcome —

    @property
    def accepted(self) -> Pass:
        """The pass whose answer stands."""
        return next(one for one in reversed(self.passes) if one.model == self.trace.model)

    def summary(self) -> dict[str, Any]:
        """How the answer came about, as plain data: the trace, the passes, and what they cost together."""
        costs: Sequence[float | None] = [one.cost_usd for one in self.passes]
        known = [cost for cost in costs if cost is not None]
        return {
            **self.trace.to_dict(),
            "cost_usd": sum(known) if len(known) == len(costs) else None,
            "passes": [one.to_dict() for one in self.passes],
        }
