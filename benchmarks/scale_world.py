"""The world of `scale.py`: outcomes that look like a pool's, as many as wanted, and a stand-in for an encoder."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOPICS, SENTENCES, WORDS = 24, 400, 300


class World:
    """Topics, and models that are good at some of them."""

    def __init__(self, models: int, seed: int = 0) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.models = [f"model-{number}" for number in range(models)]
        self.skill = np.linspace(-0.8, 1.8, models)[:, None] + rng.normal(0, 0.6, (models, TOPICS))
        words = english()
        common, rare = words[:400], np.array(words[400:])
        self.on_topic = [self._sentences([*rng.choice(rare, WORDS), *common]) for _ in range(TOPICS)]
        unsure = ["perhaps", "maybe", "however", "unclear", "assuming", "wait", "cannot", "possibly"]
        self.hedging = self._sentences([*common, *unsure * 20])

    def rows(self, queries: int) -> Iterator[dict[str, Any]]:
        """The outcome of every model on so many queries."""
        for number in range(queries):
            topic, difficulty = int(self.rng.integers(TOPICS)), self.rng.normal(0, 1.2)
            query = self._text(topic, 1 + int(self.rng.poisson(2)), 0.0) + f" ({number})"
            chance = 1 / (1 + np.exp(difficulty - self.skill[:, topic]))
            right = self.rng.random(len(chance)) < chance
            for position, model in enumerate(self.models):
                good = bool(right[position])
                output = self._text(topic, 2 + int(self.rng.poisson(6 if good else 8)), 0.05 if good else 0.15)
                yield self._row(number, query, position, model, output, float(good))

    def _row(self, number: int, query: str, position: int, model: str, output: str, correct: float) -> dict[str, Any]:
        price, asked, told = 1.5**position * 1e-7, len(query) // 4, len(output) // 4
        return {
            "query_id": f"query-{number}",
            "query": query,
            "model": model,
            "output": output,
            "correct": correct,
            "input_tokens": asked,
            "output_tokens": told,
            "cost_usd": price * (asked + 4 * told),
            "e2el_ms": 200 + 5.0 * told,
        }

    def _text(self, topic: int, sentences: int, astray: float) -> str:
        drawn, where = self.rng.integers(SENTENCES, size=sentences), self.rng.random(sentences)
        pools = (self.hedging, self.on_topic[(topic + 1) % TOPICS], self.on_topic[topic])
        return " ".join(pools[int(u > astray) + int(u > 2 * astray)][at] for u, at in zip(where, drawn, strict=True))

    def _sentences(self, words: list[str]) -> list[str]:
        sizes = self.rng.integers(6, 18, SENTENCES)
        return [" ".join(self.rng.choice(words, size)).capitalize() + "." for size in sizes]


def english() -> list[str]:
    """English words, the commonest first: those of Python's own manual."""
    from pydoc_data.topics import topics

    counted = Counter(word for text in topics.values() for word in re.findall(r"\b[a-z]{2,14}\b", text.lower()))
    return [word for word, _ in sorted(counted.items(), key=lambda found: (-found[1], found[0]))]


class StandIn:
    """Texts → vectors by their words alone: fast, and topics still lie apart. Counts what it is asked for."""

    def __init__(self) -> None:
        self.texts = 0
        self.characters = 0
        self.sample: list[str] = []

    @cached_property
    def _words(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(n_features=2**14, alternate_sign=False)

    @cached_property
    def _axes(self) -> NDArray[np.float32]:
        return np.random.default_rng(0).normal(size=(2**14, 384)).astype(np.float32)

    def __call__(self, texts: list[str], /) -> NDArray[np.float32]:
        """Encode texts, shape (n, 384)."""
        self.texts += len(texts)
        self.characters += sum(map(len, texts))
        self.sample += texts[:: max(1, len(texts) // 8)]
        vectors = self._words.transform(texts) @ self._axes
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
