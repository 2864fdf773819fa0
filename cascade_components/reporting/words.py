"""What a cluster is called: the words that are typical of its queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cascade_components.arrays import Labels

_WORD = r"(?u)\b[^\W\d_][\w'’-]+\b"
_VOCABULARY = 20_000
_LONGEST = 20
"""Letters shown of a word."""


def typical_words(texts: Sequence[str], labels: Labels, clusters: int, *, count: int = 3) -> list[tuple[str, ...]]:
    """The most typical words of each cluster, by class-based TF-IDF (Grootendorst, arXiv 2203.05794).

    Args:
        texts: One for each query.
        labels: Their clusters, shape (queries,); −1: none.
        clusters: How many there are.
        count: How many words are wanted.

    Returns:
        As many tuples as clusters, of `count` words at most; empty where a cluster has no text, or none with words.

    Example:
        >>> typical_words(["a red apple", "red apples", "two plus two"], np.array([0, 0, 1]), 2, count=1)
        [('red',), ('plus',)]
    """
    from sklearn.feature_extraction.text import CountVectorizer

    joined = [" ".join(texts[int(row)] for row in np.flatnonzero(labels == cluster)) for cluster in range(clusters)]
    counter = CountVectorizer(stop_words="english", token_pattern=_WORD, max_features=_VOCABULARY)
    try:
        counts = counter.fit_transform(joined).toarray().astype(float)
    except ValueError:  # no text has a word
        return [()] * clusters
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    weight = share * np.log1p(counts.sum() / clusters / np.maximum(counts.sum(0), 1))
    names = counter.get_feature_names_out()
    best = np.argsort(-weight, axis=1, kind="stable")[:, :count]
    return [
        tuple(str(names[word])[:_LONGEST] for word in row if weight[cluster, word] > 0)
        for cluster, row in enumerate(best)
    ]
