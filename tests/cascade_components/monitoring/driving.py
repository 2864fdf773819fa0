"""Calls of the toy world, answered by its rows and reported to a monitor."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

import cascade_components as cc
from tests.toy import make_rows


class Reader:
    """Reads how sure an answer sounds, which says something; it errs, and no two answers get one score."""

    def predict_proba(self, queries, answers):
        mood = [0.7 if "sure" in str(answer) else 0.4 for answer in answers]
        luck = [int(hashlib.sha256(str(answer).encode()).hexdigest()[:8], 16) / 16**8 for answer in answers]
        return np.array(mood) + 0.5 * (np.array(luck) - 0.5)


@dataclass
class World:
    """A stream of queries; `changes` alter a row before it answers."""

    seed: int = 1
    topics: tuple = ("sums", "poems", "code")

    def queries(self, count):
        """Each query's rows by model."""
        rows = make_rows(count * 3 // len(self.topics) + 3, self.seed, prefix=f"w{self.seed}-")
        found = {}
        for row in rows:
            if row["query"].split()[0] in self.topics:
                found.setdefault(row["query"], {})[row["model"]] = row
        return list(found.items())[:count]


def answer(row):
    return cc.Answer(row["output"], output_tokens=row["output_tokens"])


def serve(policy, queries, monitor=None, change=lambda row: row, cost=1.0):
    """Send queries through a policy's cascade; return the traces and whether each answer was right."""
    cascade, traces, right = cc.Cascade(policy), [], []
    for query, rows in queries:
        trace, spent = cascade.start(query), 0.0
        while not trace.done:
            row = change(dict(rows[trace.model]))
            spent += cost * row["cost_usd"]
            trace = cascade.judge(trace, answer(row))
        if monitor is not None:
            monitor.record(trace, cost=spent, latency_ms=40)
        traces.append(trace)
        right.append(change(dict(rows[trace.model]))["correct"])
    return traces, right


def done(policy, query="sums question 1", **changes):
    """A trace of a call that its start model answered, changed."""
    trace = cc.Cascade(policy).start(query)
    return replace(trace, **{"done": True, "scores": (0.9,), "target": None, **changes})
