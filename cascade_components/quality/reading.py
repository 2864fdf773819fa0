"""What a fine-tuned encoder reads: query, answer and number of output tokens, laid out and cut into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from tokenizers import Tokenizer
from torch import Tensor

from cascade_components.answers import Answer
from cascade_components.quality.features import LAST_WORDS, readable_text

Layout = Literal["pair", "cre-router"]
"""How query, answer and number of output tokens become a text.

"pair" gives query and answer as the two texts of a pair; the longer of the two loses its beginning. "cre-router" gives
one text, as cre-router 0.6 writes it, which is cut where its tokenizer cuts: at the end, the number of tokens with it.
"""

_REASONING_ENDS = ("</think>", "<channel|>")
"""The marks that cre-router knows, the one that it looks for first in front."""


@dataclass(frozen=True)
class AnswerReader:
    """Turns queries and answers into what the network takes. Safe to call from many threads."""

    tokenizer: Tokenizer
    inputs: tuple[str, ...]
    """Names of what the network takes."""
    separator: str
    pad: int
    layout: Layout

    @classmethod
    def of(cls, tokenizer: Any, checkpoint: str, length: int, layout: Layout) -> AnswerReader:
        """From a checkpoint's tokenizer, cut at a length.

        Raises:
            ValueError: It has no token that separates, or none that pads, or no tokenizer.json.
        """
        found: Any = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(found, Tokenizer) or tokenizer.sep_token is None or tokenizer.pad_token_id is None:
            msg = f"The tokenizer of {checkpoint!r} has no separator, no padding, or no tokenizer.json: "
            raise ValueError(msg + "SequenceHead needs an encoder's, such as BERT's, RoBERTa's or ModernBERT's.")
        own = Tokenizer.from_str(found.to_str())
        own.no_padding()
        direction = "left" if layout == "pair" else tokenizer.truncation_side
        # Set once and for all: a tokenizer that is being set up cannot serve another thread.
        own.enable_truncation(length, strategy="longest_first", direction=direction)
        return cls(own, tuple(tokenizer.model_input_names), tokenizer.sep_token, tokenizer.pad_token_id, layout)

    def read(self, queries: Sequence[str], answers: Sequence[Answer]) -> list[Any]:
        """The tokens of each query with its answer."""
        lay_out = _pair if self.layout == "pair" else cre_router_text
        texts = [lay_out(query, answer, self.separator) for query, answer in zip(queries, answers, strict=True)]
        found: list[Any] = self.tokenizer.encode_batch(texts)
        return found

    def batch(self, read: Sequence[Any], device: torch.device) -> dict[str, Tensor]:
        """What the network takes, padded to the longest, each of shape (n, tokens)."""
        columns = {
            "input_ids": [(tokens.ids, self.pad) for tokens in read],
            "attention_mask": [(tokens.attention_mask, 0) for tokens in read],
            "token_type_ids": [(tokens.type_ids, 0) for tokens in read],
        }
        width = max(len(tokens.ids) for tokens in read)
        return {
            name: torch.tensor([values + [fill] * (width - len(values)) for values, fill in columns[name]]).to(device)
            for name in self.inputs
            if name in columns
        }


def checked_layout(layout: Any) -> Layout:
    """The layout, if it is one.

    Raises:
        ValueError: It is none.
    """
    if layout not in get_args(Layout):
        msg = f"layout must be one of {', '.join(get_args(Layout))}; found {layout!r}."
        raise ValueError(msg)
    found: Layout = layout
    return found


def _pair(query: str, answer: Answer, separator: str) -> tuple[str, str]:
    tokens = "unknown" if answer.output_tokens is None else answer.output_tokens
    return query, f"{readable_text(answer)} {separator} {tokens}"


def cre_router_text(query: str, answer: Answer, separator: str) -> str:
    """The text that cre-router's estimators were trained on, to the blank.

    It ends the reasoning at the first mark, keeps the line breaks of an answer that is short enough, and counts words
    where the number of tokens is not known.
    """
    mark = next((mark for mark in _REASONING_ENDS if mark in answer.text), "")
    shown = (answer.text.partition(mark)[2] if mark else answer.text).strip()
    words = shown.split()
    if len(words) > LAST_WORDS:
        shown = " ".join(words[-LAST_WORDS:])
    tokens = len(answer.text.split()) if answer.output_tokens is None else answer.output_tokens
    return f"{query} {separator} {shown} {separator} {tokens}"
