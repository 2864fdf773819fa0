"""A small world whose truth is known: three topics, three models, an encoder that sees the topic."""

import hashlib

import numpy as np

TOPICS = {
    # share right of (small, medium, large) in each topic
    "sums": (0.95, 0.95, 0.97),
    "poems": (0.30, 0.60, 0.95),
    "code": (0.50, 0.90, 0.92),
}
COST = {"small": 0.001, "medium": 0.004, "large": 0.010}


def toy_encoder(texts):
    """Topic words become axes; the rest of a text becomes small, repeatable noise."""
    rows = []
    for text in texts:
        digest = hashlib.sha256(text.encode()).digest()[:8]
        noise = (np.frombuffer(digest, np.uint8) / 255 - 0.5) * 0.2
        axes = [float(topic in text) for topic in TOPICS] + [float("sure" in text), float("perhaps" in text)]
        rows.append(np.concatenate([axes, noise]))
    return np.array(rows)


def make_rows(count=300, seed=0, prefix="q"):
    """Rows of all three models; a wrong answer tends to say "perhaps", a right one "sure"."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        topic = list(TOPICS)[number % len(TOPICS)]
        ease = rng.random()
        for model, share in zip(COST, TOPICS[topic], strict=True):
            correct = ease < share
            honest = rng.random() < 0.9
            rows.append(
                {
                    "query_id": f"{prefix}{number}",
                    "query": f"{topic} question {prefix}{number}",
                    "model": model,
                    "output": f"{'sure' if correct == honest else 'perhaps'} {number}",
                    "correct": float(correct),
                    "cost_usd": COST[model] * (0.8 + 0.4 * rng.random()),
                    "tpot_ms": 1000 * COST[model],
                    "e2el_ms": 100_000 * COST[model],
                    "input_tokens": 10,
                    "output_tokens": 20 + number % 7,
                    "token_logprobs": [-0.1, -0.05 if correct else -1.5],
                }
            )
    return rows
