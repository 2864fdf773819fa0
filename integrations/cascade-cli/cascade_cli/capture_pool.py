"""pool.yaml: the models that are captured, what they cost, and how they may be asked."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade_components.pricing import TokenPrice
from cascade_components.serving.secrecy import may_be_secret
from langchain_cascade.captures.member import Member

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PriceEntry(_Strict):
    """USD per million tokens."""

    input: _Price
    output: _Price
    cache_read: _Price | None = None
    cache_creation: _Price | None = None


class ModelEntry(_Strict):
    """One model of pool.yaml."""

    model: Annotated[str, Field(min_length=1)]
    """A name for `init_chat_model` ("openai:gpt-4o-mini"), or an embedded model ("qwen2.5-0.5b")."""
    base_url: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; None: the one that the provider's package reads."""
    price: PriceEntry | None = None
    sampling: dict[str, Any] = {}
    """Passed to the chat model: temperature, max_tokens, seed, …"""
    logprobs: bool = False
    """Ask for log-probabilities and, for the margins, the two likeliest tokens."""
    system: str | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    requests_per_minute: _Positive | None = None
    retries: Annotated[int, Field(ge=0)] = 3
    timeout_s: _Positive = 300.0

    @property
    def embedded(self) -> bool:
        """Whether it runs in this process."""
        return ":" not in self.model

    @property
    def at_once(self) -> int:
        """Calls at the same time, at most."""
        return self.concurrency or (1 if self.embedded else 4)


class PoolFile(_Strict):
    """The whole of pool.yaml."""

    models: Annotated[dict[str, ModelEntry], Field(min_length=1)]
    judges: dict[str, ModelEntry] = {}
    """Models that only grade."""


def read_pool_file(path: Path) -> PoolFile:
    """Read and check the file; no model is made.

    Raises:
        FileNotFoundError: There is none.
        ValueError: Something is wrong in it; the message names the key, and no value that may be a secret.
    """
    if not path.is_file():
        msg = f"There is no file {path}."
        raise FileNotFoundError(msg)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader's child
    except UnicodeDecodeError as error:
        problem = str(error)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else "the text cannot be read"
    else:
        return _checked(data, path)
    msg = f"{path} is no valid YAML: {problem}."
    raise ValueError(msg)


def make_members(entries: Mapping[str, ModelEntry], path: Path) -> dict[str, Member]:
    """Make the chat models; embedded ones fetch their weights.

    Raises:
        ImportError: A package is missing; the message names it.
        ValueError: A key is missing, or a model cannot be made.
    """
    return {name: _member(name, entry, f"{path}: {name}") for name, entry in entries.items()}


def _checked(data: Any, path: Path) -> PoolFile:
    try:
        pool = PoolFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        hint = _hint(str(first["loc"][-1])) if first["type"] == "extra_forbidden" else ""
        problem = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        msg = f"{path}: {key}: {problem}{hint}."
        raise ValueError(msg) from None
    for name, entry in {**pool.models, **pool.judges}.items():
        secret = [key for key, value in entry.sampling.items() if may_be_secret(key, value)]
        if secret:
            msg = (
                f"{path}: {name}.sampling.{secret[0]}: keys stay in the environment; name the variable by api_key_env."
            )
            raise ValueError(msg)
        if may_be_secret("base_url", entry.base_url or ""):
            msg = f"{path}: {name}.base_url: no passwords in addresses; keys stay in the environment (api_key_env)."
            raise ValueError(msg)
    both = sorted(set(pool.models) & set(pool.judges))
    if both:
        msg = f"{path}: {both[0]!r} is among models and judges; a judge that is in the pool needs no entry of its own."
        raise ValueError(msg)
    return pool


def _hint(field: str) -> str:
    if re.search(r"key|token|secret", field) and field not in PriceEntry.model_fields:
        return "; keys stay in the environment: api_key_env names the variable"
    known = [*PoolFile.model_fields, *ModelEntry.model_fields, *PriceEntry.model_fields]
    near = difflib.get_close_matches(field, known, 1)
    return f"; do you mean {near[0]}?" if near else f"; known are {', '.join(ModelEntry.model_fields)}"


def _member(name: str, entry: ModelEntry, place: str) -> Member:
    embedded = entry.embedded
    key_name, key = (None, None) if embedded else _key(entry, place)
    model = _embedded(entry, place) if embedded else _provided(entry, key, place)
    if key_name is None and not embedded:
        key_name = next(iter(model.lc_secrets.values()), None)
    secrets = [found for found in (key, os.environ.get(key_name or "")) if found]
    longest = [entry.sampling.get(field) for field in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    return Member(
        name,
        model,
        price=price_of(entry),
        concurrency=entry.at_once,
        requests_per_minute=entry.requests_per_minute,
        retries=entry.retries,
        timeout_s=entry.timeout_s,
        on_this_machine=embedded,
        system=entry.system,
        key_name=key_name,
        secrets=tuple(secrets),
        settings=entry.model_dump(include={"model", "sampling", "logprobs"}),
        longest_answer=next((int(found) for found in longest if isinstance(found, int)), None),
    )


def _key(entry: ModelEntry, place: str) -> tuple[str | None, str | None]:
    if entry.api_key_env is None:
        return None, None
    key = os.environ.get(entry.api_key_env, "").strip()
    if not key:
        msg = f"{place}: the environment variable {entry.api_key_env} is not set; it must hold the key."
        raise ValueError(msg)
    return entry.api_key_env, key


def price_of(entry: ModelEntry) -> TokenPrice | None:
    """What a token of the model costs; an embedded one has a declared price. None: not known."""
    if entry.price is not None:
        return TokenPrice.per_million(**entry.price.model_dump())
    if not entry.embedded:
        return None
    from cascade_local import WEIGHTS

    declared = WEIGHTS[entry.model].usd_per_token if entry.model in WEIGHTS else math.nan
    return None if math.isnan(declared) else TokenPrice(declared, declared)


def _embedded(entry: ModelEntry, place: str) -> Any:
    from cascade_local import WEIGHTS, ChatLocal, fetch

    try:
        model = ChatLocal(model=entry.model, **entry.sampling)
    except (ValueError, TypeError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        msg = f"{place}: {told}; models of other providers are named provider:model, such as openai:gpt-4o-mini."
        raise ValueError(msg) from None
    if entry.model in WEIGHTS:
        fetch(entry.model)
    return model


def _provided(entry: ModelEntry, key: str | None, place: str) -> Any:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        msg = 'Models of other providers need the extra [capture]: pip install "cascade-components[capture]", '
        raise ImportError(msg + "and the provider's package, such as langchain-openai.") from None
    settings = {**entry.sampling, **({"logprobs": True, "top_logprobs": 2} if entry.logprobs else {})}
    settings |= {name: value for name, value in (("base_url", entry.base_url), ("api_key", key)) if value}
    try:
        model = init_chat_model(entry.model, **settings)
        # Retries are ours: a model's own would count as its latency. Usage must come with streams, too.
        own = {"max_retries": 0, "stream_usage": True, "timeout": entry.timeout_s}
        fields = type(model).model_fields
        known = {name for field, info in fields.items() for name in (field, info.alias)}
        return init_chat_model(
            entry.model, **{**{name: value for name, value in own.items() if name in known}, **settings}
        )
    except ImportError as error:
        msg = f"{place}: {error}"
        raise ImportError(msg) from None
    except Exception as error:  # each provider's package has kinds of its own: without a key, OpenAI's is no ValueError
        text = str(error).replace(key, "…") if key else str(error)
        msg = f"{place}: {entry.model} cannot be made: {text}"
        raise ValueError(msg) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: the first of two models of one name would be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        """A mapping, checked."""
        seen = []
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                msg = f"the key {name!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, msg, key.start_mark)
            seen.append(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found
