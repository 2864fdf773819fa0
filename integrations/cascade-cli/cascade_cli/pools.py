"""From names on the command line to chat models and what their tokens cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascade_components.outcomes import Metric

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MAX_TOKENS = 96
"""Output tokens of one quickstart answer, at most: the questions have short ones."""

STOP = ["\n\n"]
"""Small models answer first, and ramble after a blank line."""


@dataclass(frozen=True)
class Pool:
    """The models of one quickstart."""

    models: dict[str, BaseChatModel]
    usd_per_token: dict[str, tuple[float, float]]
    """Price of an input and of an output token; empty: unknown, latency serves as cost."""

    @property
    def metric(self) -> Metric:
        """Which measurement is Cost."""
        return "cost_usd" if self.usd_per_token else "e2el_ms"


def make_pool(names: Sequence[str], prices: str | None) -> Pool:
    """Make the chat models; embedded ones fetch their weights.

    Args:
        names: Embedded models ("qwen2.5-0.5b") or names for `init_chat_model` ("openai:gpt-4o-mini").
        prices: USD per million tokens of each model, "in/out,in/out"; None: the declared compute prices where all
            models are embedded.

    Raises:
        ImportError: A package is missing; the message names it.
        ValueError: Fewer than two names, a name twice, an unknown name, or prices that don't fit.
    """
    if len(names) < 2 or len(set(names)) < len(names) or not all(name.strip() for name in names):
        msg = f"--pool needs at least two different models, separated by commas; found {','.join(names)!r}."
        raise ValueError(msg)
    from cascade_local import WEIGHTS

    models = {name: _make_model(name, temperature=0, max_tokens=MAX_TOKENS) for name in names}
    if prices is not None:
        return Pool(models, _parse_prices(prices, names))
    declared = {name: (WEIGHTS[name].usd_per_token,) * 2 for name in names if name in WEIGHTS}
    return Pool(models, declared if len(declared) == len(names) else {})


def make_named_pool(pool: str, prices: str | None) -> Pool:
    """Make the chat models that a policy names; embedded ones fetch their weights.

    Args:
        pool: "small=openai:gpt-4o-mini,large=openai:gpt-4o"; a model without a name of its own is in the policy by
            the model's.
        prices: USD per million tokens of each model, "in/out,in/out", in the order of the pool.

    Raises:
        ImportError: A package is missing; the message names it.
        ValueError: A name is empty or there twice, a model is unknown, or prices don't fit.
    """
    parts = [member.partition("=") for member in pool.split(",")]
    models = {name.strip(): (model if equals else name).strip() for name, equals, model in parts}
    if len(models) < len(parts) or not all(models) or not all(models.values()):
        msg = f"--pool needs models separated by commas, each NAME=MODEL or MODEL, no name twice; found {pool!r}."
        raise ValueError(msg)
    usd_per_token = {} if prices is None else _parse_prices(prices, list(models))
    return Pool({name: _make_model(model) for name, model in models.items()}, usd_per_token)


def _make_model(name: str, **settings: Any) -> BaseChatModel:
    """Make a chat model; the settings are for other providers': embedded models answer as the quickstart asks them."""
    if ":" not in name:
        return _make_embedded(name)
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        msg = "Models of other providers need LangChain: pip install langchain and the provider's package."
        raise ImportError(msg) from None
    try:
        model: BaseChatModel = init_chat_model(name, **settings)
    except Exception as error:  # each provider's package has kinds of its own: without a key, OpenAI's is no ValueError
        msg = f"{name} cannot be made: {error}"
        raise ValueError(msg) from error
    if "stream_usage" in type(model).model_fields:
        model.stream_usage = True  # type: ignore[attr-defined]  # else streams cost nobody knows what
    return model


def _make_embedded(name: str) -> BaseChatModel:
    from cascade_local import WEIGHTS, ChatLocal, fetch

    if name not in WEIGHTS:
        msg = f"{name!r} is no embedded model ({', '.join(WEIGHTS)}); name others as provider:model, "
        raise ValueError(msg + "such as openai:gpt-4o-mini.")
    fetch(name)
    return ChatLocal(model=name, max_tokens=MAX_TOKENS, stop=STOP)


def _parse_prices(prices: str, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    try:
        pairs = [tuple(float(part) / 1e6 for part in pair.split("/")) for pair in prices.split(",")]
        found = {name: (given, made) for name, (given, made) in zip(names, pairs, strict=True)}
    except ValueError:
        msg = f"--prices needs one in/out pair of USD per million tokens for each of {', '.join(names)}, "
        raise ValueError(msg + f"such as 0.15/0.6,2.5/10; found {prices!r}.") from None
    return found
