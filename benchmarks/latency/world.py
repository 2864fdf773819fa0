"""A policy of two models on questions that make sense to an encoder; no data folder is needed."""

import random
from collections.abc import Iterator
from typing import Any

import cascade_components as cc
from cascade_components.encoders import Encoder

TOPICS = {
    "the interest on a loan of {} dollars": 0.9,
    "a poem of {} lines about the sea": 0.5,
    "a function that sorts {} numbers": 0.7,
    "the boiling point of a liquid at {} metres": 0.6,
}
_QUERIES = 240


def make_policy(encoder: Encoder) -> cc.CascadePolicy:
    """Fit on made-up outcomes: the small model is right the more often, the easier the topic."""
    return cc.fit(list(_rows()), encoder=encoder, clusters=16, retention=0.95, progress=False)


def _rows() -> Iterator[dict[str, Any]]:
    draw = random.Random(0)
    for number in range(_QUERIES):
        topic, ease = list(TOPICS.items())[number % len(TOPICS)]
        query = f"Explain {topic.format(draw.randrange(2, 9000))}, in {draw.randrange(2, 9)} steps."
        for model, share, cost in (("small", ease, 0.001), ("large", 0.95, 0.01)):
            right = draw.random() < share
            manner = "Step by step: first" if right else "Perhaps it is"
            yield {
                "query_id": str(number),
                "query": query,
                "model": model,
                "output": f"{manner} {draw.randrange(9000)}, then {draw.randrange(9000)}.",
                "correct": float(right),
                "cost_usd": cost * (0.8 + 0.4 * draw.random()),
                "output_tokens": draw.randrange(20, 90),
                "input_tokens": 20,
            }
