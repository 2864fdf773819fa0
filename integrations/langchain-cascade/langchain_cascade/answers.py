"""What LangChain's messages say of an answer, whichever provider wrote them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage

from cascade_components.answers import Answer, token_margins

_FINISH_REASONS = {
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
    "tool_use": "tool_calls",
}
"""Other providers' words for OpenAI's."""


def answer_of(message: AIMessage, model: str) -> Answer:
    """Read a message as the answer of a pool model.

    Example:
        >>> answer_of(AIMessage("Paris."), "small").text
        'Paris.'
    """
    tokens = _tokens(message)
    usage = message.usage_metadata
    return Answer(
        text=str(message.text),
        model=model,
        output_tokens=usage["output_tokens"] if usage else None,
        token_logprobs=tuple(round(token["logprob"], 4) for token in tokens) or None,
        token_margins=_margins(tokens),
        finish_reason=_finish_reason(message),
        tool_calls=tuple({"name": call["name"], "args": call["args"]} for call in message.tool_calls),
    )


def _tokens(message: AIMessage) -> list[dict[str, Any]]:
    """Each token's log-probability in OpenAI's shape; some integrations leave out the outer object."""
    found = message.response_metadata.get("logprobs")
    content = found.get("content") if isinstance(found, dict) else found
    return [token for token in content or [] if isinstance(token, dict) and token.get("logprob") is not None]


def _margins(tokens: list[dict[str, Any]]) -> tuple[float, ...] | None:
    tops = [[top.get("logprob") for top in token.get("top_logprobs") or []] for token in tokens]
    return token_margins([[given for given in position if given is not None] for position in tops])


def _finish_reason(message: AIMessage) -> str | None:
    if message.additional_kwargs.get("refusal"):
        return "refusal"
    metadata = message.response_metadata
    reason = metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason")
    return None if reason is None else _FINISH_REASONS.get(reason, str(reason))
