"""One call on its way through a cascade. Decides and remembers; an adapter does the calling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cascade_components.answers import Answer
from cascade_components.cascade import AllModelsFailed, Cascade
from cascade_components.quality.checks import failed_checks
from cascade_components.quality.prefixes import checkpoint
from cascade_components.serving.account import Account, Usage
from cascade_components.serving.attempts import Attempts, Pass
from cascade_components.serving.reach import Reach
from cascade_components.serving.rivals import as_overtaken, as_weak_rival, rival_of, without_rival
from cascade_components.serving.setup import Serving
from cascade_components.serving.turn import Turn, first_trace
from cascade_components.serving.watching import Watch
from cascade_components.spending import SpendLimitError
from cascade_components.trace import Trace


class ServedCall:
    """The state of one call; it lives no longer than the call.

    An adapter says `begin`; then, until `trace.done`: `open_pass`, calls the model that it names (by a stream where
    `streaming`), and says `close_pass` and `judge`, or `fail`. Of a stream it tells each part by `read`, and may pass
    on what has come while not `held`. While a model takes longer than `hedge_s`, it may ask another one as well:
    `open_rival`, then `overtake` or `fail_rival`. `serving.loop` does all this.
    """

    def __init__(self, serving: Serving, turn: Turn) -> None:
        self.turn = turn
        self.watch = Watch(serving.monitor, serving.shadow)
        self.policy = serving.policy_for(turn.settings, turn.thread)
        self.trace: Trace
        self.seen = False
        """Whether something of the answer that comes now has been passed on: it cannot be taken back."""
        self.wait_s = 0.0
        """How long to wait before the next pass, in seconds: the same model is asked again."""
        self.restart: dict[str, str] | None = None
        """The last failure made a stream start anew: who failed, and who answers from the beginning."""
        self._serving = serving
        self._settings = serving.resilience
        self._cascade = Cascade(
            self.policy,
            estimator_deadline_ms=self._settings.estimator_deadline_ms,
            on_estimator_failure=self._settings.on_estimator_failure,
        )
        self._account = Account(
            self.policy,
            serving.prices,
            serving.spend_limit,
            thread=turn.thread,
            prompt_tokens=turn.prompt_tokens,
            max_tokens=turn.max_tokens,
        )
        able = turn.able if turn.settings.model is None else self.policy.models
        self._reach = Reach(able, self._account, serving.health.circuits if self._settings.breaker else None)
        self._attempts = Attempts(serving, self._account, self._reach)
        self._heard = turn.live
        self._released = False
        self._checkpoint: int | None = None
        self._planned: Trace
        self._overtaken: Trace | None = None
        self._restarts: list[dict[str, str]] = []

    # — decisions —

    def begin(self, *, heard: bool = False) -> None:
        """Choose the first model.

        Args:
            heard: Whether somebody else than the caller reads the answer as it comes.
        """
        self._heard = self.turn.live or heard
        serving = self._serving
        trace = first_trace(
            self._cascade,
            self.policy,
            self.turn,
            self._account,
            self._reach,
            sticky=serving.sticky,
            prices=serving.prices,
            remedy=serving.remedy,
        )
        self.trace = self._reach.settle(trace)

    @property
    def held(self) -> bool:
        """Whether the answer of the model asked now may yet not be the one, so that nobody may see it.

        An estimator or a check rejects it, or a rival overtakes it. What is streamed cannot be taken back: where no
        estimator reads the answer and somebody reads the stream, checks reject only where tools or a schema are at
        stake.
        """
        return not self._released and (self._rejectable or self._hedged)

    @property
    def _rejectable(self) -> bool:
        checked = self.turn.shaped or not self._heard
        return self.trace.gated or (checked and self._cascade.can_escalate(self.trace))

    @property
    def streaming(self) -> bool:
        """Whether the model asked now is asked for a stream: the caller reads along, now or once it is released."""
        return self.turn.live and (not self.held or self._serving.release == "early")

    @property
    def judged_at_once(self) -> bool:
        """Whether judging takes no time: no estimator reads the answer, and it need not have a form."""
        return not (self.trace.gated or self.turn.shaped)

    def judge(self, answer: Answer, *, parsed: bool = True) -> None:
        """Judge the answer that came last: it stands, or another model is asked.

        Args:
            answer: What an estimator reads; a tool call whose `args` is no mapping is one that did not parse.
            parsed: False: a structure was asked for, and the answer does not have it.
        """
        turn, running, behind, before = self.turn, self._attempts.running, self._overtaken, self.trace
        failed = failed_checks(
            answer, tools=turn.tools, parsed=parsed, made_calls=turn.made_calls, must_call=turn.must_call
        )
        seen = self._was_seen(failed)  # while the same models can be asked as when it was streamed
        self._overtaken = None
        if failed and behind is not None and behind.model in running:
            self.trace = as_weak_rival(behind, self.trace.model, failed)
            return
        self.trace = replace(self.trace, available=self._reach.now() | running)
        if not failed or not self._cascade.can_escalate(self.trace) or not seen:
            trace = self._cascade.judge(self.trace, answer, failed_checks=failed)
        else:
            trace = self._cascade.judge(self.trace, answer)
            note = f"it failed the check {', '.join(failed)} after it had been streamed"
            trace = replace(trace, failed_checks=(*trace.failed_checks, *failed), reasons=(*trace.reasons, note))
        self.trace = self._reach.settle(trace)
        self.watch.judged(before, self.trace)

    def _was_seen(self, failed: tuple[str, ...]) -> bool:
        """Whether somebody has seen something of the answer that came last."""
        if self.streaming:
            return self.seen
        return self._heard and not self.held and "empty" not in failed

    def fail(self, error: Exception) -> None:
        """The model asked last raised `error`: choose another one, or the same again.

        Raises:
            AllModelsFailed: Nobody is left to ask.
            SpendLimitError: Nobody is left who can be paid.
            Exception: `error` itself, if part of the answer has been streamed, and the stream may not start anew.
        """
        name, self.restart, self.wait_s = self.trace.model, None, 0.0
        self._attempts.fail(name, error)
        self._reach.drop(name)
        if self.seen and self._settings.broken_stream == "error":
            error.add_note(f"{name} failed after part of its answer had been streamed; nobody else was asked.")
            raise error
        self._go_on(name, error)
        if self.seen:
            self.restart = {"failed": name, "model": self.trace.model}
            self._restarts.append(self.restart)

    def _go_on(self, name: str, error: Exception) -> None:
        rivals = self._attempts.running
        found: Trace | AllModelsFailed
        try:
            found = self._cascade.fail(replace(self.trace, available=rivals or self._reach.after_failure()), error)
        except AllModelsFailed as failed:
            found = failed
        alone = isinstance(found, AllModelsFailed) or found.done
        again_in_s = self._attempts.retry_in_s(name, error)
        if again_in_s is not None and (alone or (self._settings.retry == "each" and not rivals)):
            self._ask_again(name, error, again_in_s)
        elif isinstance(found, AllModelsFailed):
            raise error if isinstance(error, SpendLimitError) else found from None
        else:
            self.trace = self._reach.settle(replace(found, available=found.available | self._reach.after_failure()))

    def _ask_again(self, name: str, error: Exception, wait_s: float) -> None:
        self._reach.again(name)
        self._attempts.count_retry(name)
        self.wait_s = wait_s
        trace, reason = self.trace, f"{name} failed ({type(error).__name__}): it is asked again"
        self.trace = replace(
            trace,
            path=(*trace.path, name),
            reasons=(*trace.reasons, reason),
            failures=(*trace.failures, (name, error)),
            target=self._planned.target,  # an early release is no longer valid
            released=None,
        )

    def abandon(self) -> None:
        """The call has ended without an answer: what its open passes cost, nobody knows."""
        self._attempts.abandon()
        self._reach.close()

    # — one pass —

    def open_pass(self) -> str:
        """Start a pass; return the model to call.

        Raises:
            SpendLimitError: The call would go over the limit.
        """
        self.seen, self._released, self._checkpoint, self.wait_s = False, False, None, 0.0
        self._planned = self.trace
        self._attempts.open(self.trace.model, self.trace.reasons[-1], whole=not self.streaming)
        return self.trace.model

    def timeout_of(self, model: str) -> float | None:
        """How long a model may take, or be silent in a stream, in seconds; None: as long as it likes."""
        return self._settings.timeout_of(model)

    def close_pass(
        self, answer: Any, usage: Usage | None, told: Mapping[str, Any] | None, *, model: str | None = None
    ) -> None:
        """Keep the answer of a pass.

        Args:
            answer: What the adapter made of it.
            usage: Its tokens.
            told: The same in the framework's words.
            model: Whose it is; None: of the model asked now.
        """
        self._attempts.answer(model or self.trace.model, answer, usage, told)

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

    # — a second model, while the first is slow —

    @property
    def _hedged(self) -> bool:
        """Whether the answer of the model asked now may be overtaken: nobody reads it before it is whole."""
        if self._settings.hedge_of(self.trace.model) is None or (self._heard and not self._rejectable):
            return False
        return rival_of(self.trace, self.policy.models) is not None

    @property
    def hedge_s(self) -> float | None:
        """After how long, in seconds, a second model is asked as well; None: none is."""
        if self.streaming or not self._hedged or self._attempts.running - {self.trace.model}:
            return None
        model = self.trace.model
        return self._serving.health.latencies.p95(model) or self._settings.hedge_of(model)

    def open_rival(self, after_s: float) -> str | None:
        """The model took so long: start a pass of a second one; None: nobody can be asked."""
        self.trace = replace(self.trace, available=self._reach.now())
        name = rival_of(self.trace, self.policy.models)
        if name is not None:
            reason = f"{name} is asked as well: {self.trace.model} took longer than {after_s:.3g} s"
            try:
                self._attempts.open(name, reason, whole=True)
            except SpendLimitError:
                return None
            self.trace = replace(self.trace, reasons=(*self.trace.reasons, reason))
        self.trace = self._reach.settle(self.trace)
        return name

    def overtake(self, rival: str) -> None:
        """The second model answered first: its answer is judged, and unless it fails a check, it stands."""
        self._overtaken = self.trace
        self.trace = as_overtaken(self.trace, rival)

    def fail_rival(self, rival: str, error: Exception) -> None:
        """The second model raised `error`: the first is waited for."""
        self._attempts.fail(rival, error)
        self._reach.drop(rival)
        self.trace = without_rival(self.trace, rival, error)

    def cancel(self, model: str) -> None:
        """A pass was given up, for another model's answer stands."""
        self._attempts.cancel(model)

    # — the outcome —

    @property
    def passes(self) -> list[Pass]:
        """The passes that gave an answer."""
        return self._attempts.answered

    @property
    def accepted(self) -> Pass:
        """The pass whose answer stands."""
        return next(one for one in reversed(self.passes) if one.model == self.trace.model)

    def summary(self) -> dict[str, Any]:
        """How the answer came about, as plain data: the trace, the passes, and what they cost together."""
        restarts = {"restarts": list(self._restarts)} if self._restarts else {}
        return {**self.trace.to_dict(), **self._attempts.to_dict(), **restarts}
