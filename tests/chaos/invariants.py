"""What has to hold of every call, checked against the server's books."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from tests.chaos.asking import STREAMS
from tests.chaos.faults import ANSWERING, BREAKING, MODELS, Fault

_SEEN = "after part of its answer had been streamed"
"""The note on the error that ends a stream of which something was seen."""

_LATE = re.compile("time-?out|connection|network|read ?error", re.IGNORECASE)
"""Kinds of errors of a client that did not wait for what was served to it after all."""

_RAISED = "ValidationError"
"""What OpenAI's client raises instead of giving an answer that is no object of the schema."""

_UNREADABLE = ("ValueError", "KeyError", "ValidationError")
"""What LlamaIndex raises where the answer that stands is no object of the schema."""


@dataclass
class Verdict:
    """What the books say of one call."""

    problems: list = field(default_factory=list)
    counted: int = 0
    """Tokens that both the server and the answer's trace tell of."""
    uncounted: Counter = field(default_factory=Counter)
    """Tokens that were served whole and that no answer tells of, by why."""


def verdict(outcome, records):
    """Hold a call's outcome against the records of its question."""
    found, known = Verdict(), {record["number"]: record for record in records}
    if strangers := (outcome.read | outcome.dropped | outcome.told) - set(known):
        found.problems.append(f"something of another call's answers was read: {sorted(strangers)}")
    elif len(outcome.read) > 1:
        found.problems.append(f"something of several answers was read: {sorted(outcome.read)}")
    elif not _broke(outcome.dropped, known, outcome):
        found.problems.append(f"something that did not break was read and dropped: {sorted(outcome.dropped)}")
    elif outcome.end == "answer" and outcome.trace:
        _answer(outcome, records, found)
        return found
    elif outcome.end == "error":
        _error(outcome, known, found)
    elif outcome.end == "lost":
        found.problems.append("neither an answer nor an error came")
    why = {"answer": "objects of LlamaIndex tell no usage", "error": "the call ended in an error"}
    _count(found, filter(_whole, records), why.get(outcome.end, f"the caller {outcome.end}"))
    return found


def _answer(outcome, records, found):
    """An answer is one model's whole answer, and tells the usage of every answer that was received."""
    trace, left, used = outcome.trace, list(records), {}
    for one in trace["passes"]:
        if one.get("cancelled"):
            continue
        # Answers without usage look alike: the one that was read, if it is among them.
        alike = sorted(filter(partial(_same, one), left), key=lambda record: record["number"] not in outcome.read)
        record = next(iter(alike), None)
        if record is None:
            found.problems.append(f"a pass was never served: {one}")
            continue
        left.remove(record)
        used[one["model"]] = record
        found.counted += sum(_usage(one)) if one["usage"] else 0
    accepted = used.get(trace["model"])
    if accepted is None:
        found.problems.append(f"{trace['model']} gave the answer, but none of the passes")
        return
    if outcome.read - {accepted["number"]}:
        found.problems.append(f"something of a rejected draft was read: {sorted(outcome.read)}, not {accepted}")
    if outcome.text != accepted["text"] and accepted["fault"] != Fault.CUT:
        found.problems.append("the text is not the one that was served")
    told = [_usage(one) for one in trace["passes"] if one["usage"]]
    if outcome.usage is not None and outcome.usage != tuple(map(sum, zip(*told, strict=True))):
        found.problems.append(f"the usage {outcome.usage} is not the sum of its passes {told}")
    for record in filter(_whole, left):
        why = _why_uncounted(record["model"], outcome)
        if why is None:
            found.problems.append(f"an answer was received and not counted: {record}")
        _count(found, [record], why or "no reason")


def _why_uncounted(model, outcome):
    """Why an answer that was sent whole may be missing in the trace."""
    if any(one["model"] == model for one in outcome.trace["passes"] if one.get("cancelled")):
        return "the cascade no longer waited: another model was faster"
    errors = [one["error"] for one in outcome.trace["failures"] if one["model"] == model]
    if errors:
        return f"the client raised {errors[-1]}"
    return "the client asked again by itself" if outcome.asked.setting == "retrying" else None


def _error(outcome, known, found):
    """An error names every model's own, or is the one that is documented for a stream that was seen."""
    broke = _broke(outcome.read, known, outcome)
    if outcome.told and not (_is_object(outcome) and len(outcome.told) == 1):
        found.problems.append("something of an answer is in an error")
    if outcome.error == "AllModelsFailed":
        named = [model for model in MODELS if f"{model}: " in outcome.message]
        if named != list(MODELS) or len(outcome.causes) < len(MODELS):
            found.problems.append(f"not every cause is named: {outcome.causes} in {outcome.message}")
        if outcome.read and not (broke and outcome.asked.setting == "hedging"):
            found.problems.append(f"something was read before all failed: {sorted(outcome.read)}")
        for record in filter(_whole, known.values()):
            late = any(map(_LATE.search, outcome.causes)) or _asked_again(record, known, outcome)
            if not late and not (record["weak"] and _RAISED in outcome.causes):
                found.problems.append(f"an error came though an answer was there: {outcome.causes}, {record}")
    elif any(_SEEN in note for note in outcome.notes) and outcome.asked.way in STREAMS:
        if not broke:
            found.problems.append(f"a whole stream ended in {outcome.error}")
    elif not (_is_object(outcome) and outcome.error in _UNREADABLE):
        found.problems.append(f"an error without causes: {outcome.error}: {outcome.message[:200]}")


def _asked_again(record, known, outcome):
    """Whether a client that retries itself did not wait for this answer: its model was asked once more."""
    later = (one for number, one in known.items() if number > record["number"])
    return outcome.asked.setting == "retrying" and any(one["model"] == record["model"] for one in later)


def _broke(numbers, known, outcome):
    """Whether these answers broke off: the server broke them, or the client did not wait."""
    failures = outcome.trace["failures"] if outcome.trace else ()
    kinds = (outcome.error, *outcome.causes, *(one["error"] for one in failures))
    return any(map(_LATE.search, kinds)) or all(known[number]["fault"] in BREAKING for number in numbers)


def _is_object(outcome):
    return (outcome.asked.framework, outcome.asked.shape) == ("llama_index", "structure")


def _same(one, record):
    """Whether a pass is what a record tells of; no two answers have the same usage."""
    if one["model"] != record["model"] or record["fault"] not in ANSWERING | {Fault.CUT}:
        return False
    if one["usage"] is None:
        return record["fault"] == Fault.CUT
    return _usage(one) == tuple(record["usage"])


def _usage(one):
    return one["usage"]["input_tokens"], one["usage"]["output_tokens"]


def _whole(record):
    """Whether the server sent all of an answer."""
    return record["end"] == "whole" and record["fault"] in ANSWERING


def _count(found, records, why):
    found.uncounted[why] += sum(sum(record["usage"]) for record in records)
