"""From the cascade's answer to OpenAI's chat completion, whole or in chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_cascade.answers import answer_of

_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
_TOLD = ("path", "escalated", "cluster", "scores", "reason", "cost_usd", "failures", "policy")


def completion(message: AIMessage, name: str, *, logprobs: bool) -> dict[str, Any]:
    """A whole chat completion.

    Args:
        message: The cascade's.
        name: The model that the client asked for.
        logprobs: Whether it asked for log-probabilities.
    """
    calls = [_call(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    calls += [_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    text = str(message.text)
    said: dict[str, Any] = {"role": "assistant", "content": None if calls and not text else text}
    said["refusal"] = message.additional_kwargs.get("refusal")
    if calls:
        said["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": said,
        "logprobs": message.response_metadata.get("logprobs") if logprobs else None,
        "finish_reason": finish_reason(message),
    }
    trace = message.response_metadata["cascade"]
    return {**frame(trace, name, "chat.completion"), "choices": [choice], "usage": usage(message)}


def frame(trace: Mapping[str, Any], name: str, kind: str) -> dict[str, Any]:
    """What a completion and each of its chunks begin with."""
    return {"id": f"chatcmpl-{trace['id']}", "object": kind, "created": int(time.time()), "model": name}


def finish_reason(message: AIMessage) -> str:
    """Why the answer ended, in OpenAI's words."""
    reason = answer_of(message, "").finish_reason
    calls = bool(message.tool_calls or message.invalid_tool_calls)
    return reason if reason in _FINISHES else "tool_calls" if calls else "stop"


def usage(message: AIMessage) -> dict[str, Any]:
    """The tokens of every pass together, 0 where no model told them, and how the answer came about."""
    found: Any = message.usage_metadata or {}
    read = (found.get("input_token_details") or {}).get("cache_read") or 0
    reasoning = (found.get("output_token_details") or {}).get("reasoning") or 0
    trace = message.response_metadata["cascade"]
    return {
        "prompt_tokens": found.get("input_tokens", 0),
        "completion_tokens": found.get("output_tokens", 0),
        "total_tokens": found.get("total_tokens", 0),
        "prompt_tokens_details": {"cached_tokens": read},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "cascade": {
            "trace_id": trace["id"],
            "model": trace["model"],
            **{key: trace[key] for key in _TOLD},
            "passes": [_pass(one) for one in trace["passes"]],
        },
    }


def headers(trace: Mapping[str, Any], cost_usd: float | None = None) -> dict[str, str]:
    """How the answer came about, as far as it is known, in headers of ASCII."""
    told = {
        "x-cascade-model": trace["model"],
        "x-cascade-escalated": str(trace["escalated"]).lower(),
        "x-cascade-cluster": "" if trace["cluster"] is None else str(trace["cluster"]),
        "x-cascade-trace-id": trace["id"],
        "x-cascade-policy": trace["policy"],
        "x-cascade-cost-usd": "" if cost_usd is None else f"{cost_usd:.9f}".rstrip("0").rstrip("."),
    }
    return {key: value.encode("ascii", "backslashreplace").decode() for key, value in told.items() if value}


class Deltas:
    """What each chunk of the cascade's stream adds to the answer, in OpenAI's words.

    Args:
        logprobs: Whether the client asked for log-probabilities.
    """

    def __init__(self, *, logprobs: bool) -> None:
        self._logprobs = logprobs
        self._calls: list[Any] = []
        """The provider's number of each tool call, which need not begin at 0 nor be there at all."""
        self._reason: str | None = None

    def of(self, chunk: AIMessageChunk) -> Iterator[dict[str, Any]]:
        """The choices that a chunk makes; none where a reader of the answer would not notice it."""
        metadata = chunk.response_metadata
        if "finish_reason" in metadata or "stop_reason" in metadata or "done_reason" in metadata:
            self._reason = answer_of(chunk, "").finish_reason
        delta: dict[str, Any] = {}
        if text := str(chunk.text):
            delta["content"] = text
        if refusal := chunk.additional_kwargs.get("refusal"):
            delta["refusal"] = refusal
        if chunk.tool_call_chunks:
            delta["tool_calls"] = [self._part(part) for part in chunk.tool_call_chunks]
        logprobs = metadata.get("logprobs") if self._logprobs else None
        if delta or logprobs:
            yield {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}

    def last(self) -> dict[str, Any]:
        """The choice that says why the answer ended."""
        reason = self._reason if self._reason in _FINISHES else "tool_calls" if self._calls else "stop"
        return {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """A piece of a tool call: the first one names it, the others add to its arguments."""
        number, arguments = part.get("index"), part.get("args") or ""
        if number is not None and number in self._calls:
            return {"index": self._calls.index(number), "function": {"arguments": arguments}}
        self._calls.append(number)
        return {"index": len(self._calls) - 1, **_call(part.get("id"), part.get("name"), arguments)}


def _call(call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments or ""}}


def _pass(one: Mapping[str, Any]) -> dict[str, Any]:
    told = one["usage"] or {}
    return {
        "model": one["model"],
        "prompt_tokens": told.get("input_tokens"),
        "completion_tokens": told.get("output_tokens"),
        "cost_usd": one["cost_usd"],
        "latency_ms": one["latency_ms"],
        **({"cancelled": True} if one.get("cancelled") else {}),
    }
