"""A small language model on this machine's processor, as an ordinary LangChain chat model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel, agenerate_from_stream, generate_from_stream
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from cascade_local.completions import openai_messages, pieces, request
from cascade_local.fetching import fetch
from cascade_local.runtime import LoadedModel, load, usable_cores
from cascade_local.structured import Method, constrained
from cascade_local.weights import WEIGHTS

_MOST_THREADS = 4
_MEANINGLESS = frozenset({"api_key", "max_retries"})
"""Parameters that LangChain gives to any chat model: here there is nothing to unlock and nothing to retry."""
_SAMPLING = frozenset(
    {"top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "logit_bias", "response_format", "grammar"}
)


class ChatLocal(BaseChatModel):
    """A small language model that runs inside this process, offline once its weights are here.

    The weights are fetched (see `fetch`) and loaded at the first call; instances that agree in file, context window
    and threads share one loaded model, whose calls wait for one another. The same question with the same seed gets
    the same answer, whatever was asked before. `seed`, `temperature`, `max_tokens`, `stop`, `logprobs`, `timeout`,
    `cache_prompt` and `model` may also be given per call, and so may llama.cpp's `top_p`, `top_k`, `min_p`,
    `presence_penalty`, `frequency_penalty`, `logit_bias`, `grammar` and `response_format`.

    A message's `usage_metadata` counts the tokens; its `response_metadata` holds `finish_reason` ("stop" or
    "length"), `model_name`, and `logprobs` in OpenAI's shape, with the two likeliest tokens at each place. Tools
    are not supported: models of this size do not call them reliably.

    Raises:
        ValueError: At construction, if the model is unknown or `max_tokens` leaves no room for a prompt. In a call,
            if the prompt is empty, or the file is no GGUF file or its model has a shorter context window.
        TypeError: In a call, if an option is unknown.
        ContextOverflowError: In a call, if prompt and `max_tokens` exceed the context window; nothing is cut off.
        TimeoutError: In a call, after `timeout` seconds.
        OSError: In the first call, if the weights can neither be found nor fetched.
        RuntimeError: In a call, if llama.cpp reports an error.

    Example:
        >>> model = ChatLocal(model="smollm2-135m")
        >>> model.invoke("Name a colour.").usage_metadata["output_tokens"] > 0  # doctest: +SKIP
        True
    """

    model_config = ConfigDict(extra="forbid")

    model: str = "qwen2.5-0.5b"
    """A key of `WEIGHTS`, or the path of any .gguf file."""
    temperature: float = Field(default=0.0, ge=0)
    """0: always the likeliest token."""
    max_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    stop: list[str] | None = None
    """Texts that end the answer; they are not part of it."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sampling, of effect where the temperature is not 0."""
    threads: int | None = Field(default=None, ge=1)
    """Processor threads for one call; None: the cores this process may use, four at most."""
    context_window: int = Field(default=4096, ge=2)
    """Tokens of prompt and answer together."""
    logprobs: bool = True
    """Whether to report the log-probability of each token."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds that one whole call may take, waiting for other calls included; None: no limit."""
    cache_prompt: bool = False
    """Whether to work off only what differs from the last prompt. Faster in conversations; but answers may then
    differ in rare cases with what was asked before."""
    streaming: bool = False
    """Whether `invoke` streams to the callbacks, as in other LangChain models."""

    _loaded: dict[str, LoadedModel] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _drop_meaningless(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in _MEANINGLESS}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _known(self.model)
        if self.max_tokens >= self.context_window:
            raise ValueError(
                f"max_tokens={self.max_tokens} leaves no room for a prompt in context_window={self.context_window}"
            )
        return self

    @property
    def _llm_type(self) -> str:
        return "cascade-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", "temperature", "max_tokens", "seed", "threads", "context_window", "logprobs")
        own_stop = {"own_stop": self.stop}  # LangChain puts the stop of the call under "stop"
        return {name: getattr(self, name) for name in names} | own_stop

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider="local",
            ls_model_type="chat",
            ls_model_name=kwargs.get("model", self.model),
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
        )
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(
            max_input_tokens=self.context_window - self.max_tokens,
            max_output_tokens=self.max_tokens,
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            tool_calling=False,
            structured_output=True,
        )

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of a text, by the model's own tokenizer."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        tokens: list[int] = self._runtime(self.model).ask("/tokenize", {"content": text})["tokens"]
        return tokens

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Length of the prompt that the model would see, its chat template included, in tokens."""
        if tools:
            raise NotImplementedError("ChatLocal does not support tools")
        return self._runtime(self.model).count_tokens(openai_messages(messages))

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,  # noqa: ARG002 - always strict: the schema governs each token
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Make the model answer in JSON of a schema, parsed.

        Args:
            schema: A pydantic class, a `TypedDict`, or a JSON or OpenAI function schema.
            include_raw: Whether to return `{"raw": message, "parsed": ..., "parsing_error": ...}`.
            method: "json_schema" lets the model choose only tokens that the schema allows, and so does
                "function_calling" here; "json_mode" allows any JSON object.
            strict: Accepted for compatibility.
            **kwargs: None are supported.

        Raises:
            ValueError: If the method or another argument is unknown.
        """
        if kwargs:
            raise ValueError(f"with_structured_output of ChatLocal does not know {', '.join(sorted(kwargs))}")
        return constrained(self, schema, method=method, include_raw=include_raw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - an invoke reports no single tokens
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        """Driven token by token off the event loop, so that cancelling it ends the work."""
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        name = _known(kwargs.pop("model", self.model))
        timeout_s = kwargs.pop("timeout", self.timeout)
        body = self._request(messages, stop, kwargs)
        runtime = self._runtime(name)
        _require_room(runtime.count_tokens(body["messages"]), body["max_tokens"], self.context_window)
        for piece in pieces(runtime.stream(body, timeout_s), model_name=name):
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
        """The body of one chat completion, from this instance's settings and the options of the call."""
        options.pop("stream", None)  # LangChain has acted on it
        settings = {
            name: getattr(self, name) for name in ("temperature", "max_tokens", "seed", "logprobs", "cache_prompt")
        }
        unknown = options.keys() - settings.keys() - _SAMPLING
        if unknown:
            known = ", ".join(sorted({*settings, *_SAMPLING, "model", "stop", "timeout"}))
            raise TypeError(f"ChatLocal does not know {', '.join(sorted(unknown))}; options of a call are {known}")
        body = settings | options | {"stop": self.stop if stop is None else stop}
        return request(messages, body)

    def _runtime(self, name: str) -> LoadedModel:
        """The loaded model, kept as long as this instance lives."""
        if name not in self._loaded:
            path = fetch(name) if name in WEIGHTS else Path(name)
            threads = self.threads or min(usable_cores(), _MOST_THREADS)
            self._loaded[name] = load(path, self.context_window, threads)
        return self._loaded[name]


def embedded_pool(names: Sequence[str] = ("smollm2-135m", "qwen2.5-0.5b"), **settings: Any) -> dict[str, ChatLocal]:
    """The chat models of a ready-made pool, weakest first, by name.

    What a token of each costs is declared as compute, in proportion to the model's parameters:
    `WEIGHTS[name].usd_per_token`, in USD. Nobody sends a bill for it.

    Args:
        names: Keys of `WEIGHTS`.
        **settings: Given to each `ChatLocal`.

    Raises:
        ValueError: If a name is unknown.

    Example:
        >>> list(embedded_pool(max_tokens=64))
        ['smollm2-135m', 'qwen2.5-0.5b']
    """
    return {name: ChatLocal(model=name, **settings) for name in names}


def _known(model: str) -> str:
    """The name of a model, if it is known or the path of a GGUF file."""
    if model not in WEIGHTS and not model.endswith(".gguf"):
        raise ValueError(f"unknown model {model!r}; known are {', '.join(WEIGHTS)}, or give the path of a .gguf file")
    return model


def _require_room(prompt_tokens: int, max_tokens: int, context_window: int) -> None:
    """Raise if a prompt and its longest answer exceed the context window."""
    if prompt_tokens + max_tokens > context_window:
        raise ContextOverflowError(
            f"the prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}: together more than "
            f"context_window={context_window}; shorten the prompt, lower max_tokens or raise context_window"
        )
