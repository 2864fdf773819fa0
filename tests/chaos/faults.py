"""What goes wrong, and when: a schedule that depends on the question alone, not on who comes first."""

import random
from dataclasses import dataclass
from enum import StrEnum

MODELS = ("small", "medium", "large")


class Fault(StrEnum):
    """What a server does to one request."""

    NONE = "none"
    HANG = "never answers"
    RESET = "reset amid the headers"
    LIMITED = "429"
    LIMITED_FOR = "429 with Retry-After"
    BROKEN = "500"
    UNAVAILABLE = "503"
    MALFORMED = "malformed JSON"
    WRONG_TYPE = "wrong content type"
    EMPTY_BODY = "empty body"
    HALF = "ends halfway"
    HALF_RESET = "reset halfway"
    HALF_ERROR = "an error halfway"
    CUT = "stream without its end"
    UNDONE = "stream without [DONE]"
    EMPTY_ANSWER = "empty answer"
    HUGE = "10 MB answer"
    SLOW = "slow answer"
    DRIP = "slow drip"
    DOWN = "down for a while"


WEIGHTS = {
    Fault.NONE: 60,
    Fault.HANG: 2,
    Fault.HUGE: 0.3,
    Fault.DOWN: 0,  # by stretches of questions
}
"""How often each fault comes up; 2.5 where nothing else is said."""

ANSWERING = frozenset({Fault.NONE, Fault.UNDONE, Fault.EMPTY_ANSWER, Fault.HUGE, Fault.SLOW, Fault.DRIP})
"""After these, the client has an answer and its usage."""

BREAKING = frozenset({Fault.HALF, Fault.HALF_RESET, Fault.HALF_ERROR, Fault.MALFORMED})
"""These can break a stream of which the caller has seen something."""

DOUBTED = 0.3
"""Share of the answers that are weak: doubtful words, a tool that doesn't exist, a structure that doesn't parse."""

_STRETCH, _CYCLE = 12, 120
"""Out of so many questions in a row, so many find a model down."""


@dataclass(frozen=True)
class Chance:
    """What becomes of one request."""

    fault: Fault
    weak: bool
    input_tokens: int
    output_tokens: int
    fraction: float
    """How far a server gets that does not get to the end."""


def chance(seed, question, model, attempt):
    """What becomes of a question to a model, at so many attempts before."""
    rng = random.Random(f"{seed}/{question}/{model}/{attempt}")
    fault = rng.choices(list(Fault), [WEIGHTS.get(fault, 2.5) for fault in Fault])[0]
    if (question + 40 * MODELS.index(model)) % _CYCLE < _STRETCH:
        fault = Fault.DOWN
    weak = fault is not Fault.EMPTY_ANSWER and rng.random() < DOUBTED
    return Chance(fault, weak, rng.randint(1, 10**6), rng.randint(1, 10**6), rng.uniform(0.2, 0.8))
