"""Between LangChain's messages and llama.cpp's chat completions, which have OpenAI's shape."""

from collections.abc import Iterable, Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

_LIKELIEST = 2


def openai_messages(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    """The conversation in OpenAI's shape.

    Raises:
        ValueError: If there is nothing in it to answer.
    """
    if not any(message.content for message in messages):
        raise ValueError("the prompt is empty")
    converted: list[dict[str, Any]] = convert_to_openai_messages(messages)
    return converted


def request(messages: list[BaseMessage], options: dict[str, Any]) -> dict[str, Any]:
    """The body of a request for a streamed answer with token counts.

    Raises:
        ValueError: If the prompt is empty or `max_tokens` is less than one.
    """
    if options["max_tokens"] < 1:
        raise ValueError(f"max_tokens must be at least 1, not {options['max_tokens']}")
    body = options | {"messages": openai_messages(messages), "stream": True, "stream_options": {"include_usage": True}}
    if options["logprobs"]:
        body["top_logprobs"] = _LIKELIEST
    return body


def pieces(chunks: Iterable[dict[str, Any]], model_name: str) -> Iterator[ChatGenerationChunk]:
    """LangChain's chunks for those of llama.cpp.

    Only the last one says why and with which usage the answer ended, so that merging doubles nothing.
    """
    finish_reason = None
    for chunk in chunks:
        for choice in chunk["choices"]:
            finish_reason = choice["finish_reason"] or finish_reason
            text, logprobs = choice["delta"].get("content") or "", choice.get("logprobs")
            if text or logprobs:
                info = {"logprobs": {"content": [_token(token) for token in logprobs["content"]]}} if logprobs else None
                yield ChatGenerationChunk(message=AIMessageChunk(content=text), generation_info=info)
        if usage := chunk.get("usage"):
            counts = UsageMetadata(
                input_tokens=usage["prompt_tokens"],
                output_tokens=usage["completion_tokens"],
                total_tokens=usage["total_tokens"],
            )
            yield ChatGenerationChunk(
                message=AIMessageChunk(content="", usage_metadata=counts, chunk_position="last"),
                generation_info={"finish_reason": finish_reason, "model_name": model_name},
            )


def _token(token: dict[str, Any]) -> dict[str, Any]:
    """One token's log-probability, without what llama.cpp adds to OpenAI's shape."""
    kept = {name: token[name] for name in ("token", "bytes", "logprob")}
    if "top_logprobs" in token:
        kept["top_logprobs"] = [_token(other) for other in token["top_logprobs"]]
    return kept
