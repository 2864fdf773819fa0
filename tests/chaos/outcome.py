"""What became of one call, as its caller sees it; small, for many are kept."""

from dataclasses import dataclass, field

from tests.chaos.answers import digest, marks
from tests.chaos.asking import Asked


@dataclass
class Outcome:
    """What one caller got."""

    asked: Asked
    end: str = "lost"
    """`answer`, `error`, `gave up`; lost: neither."""
    read: frozenset = frozenset()
    """The numbers of the server's answers that the caller has seen something of."""
    text: str = ""
    """Digest of the answer's text."""
    dropped: frozenset = frozenset()
    """The same, of what was read before the stream said that it starts anew."""
    told: frozenset = frozenset()
    """The same, of what the error says."""
    trace: dict | None = None
    usage: tuple | None = None
    """Tokens in and out, as the framework tells them; None where it does not."""
    error: str = ""
    """Kind of the error."""
    causes: tuple = ()
    """Kinds of the errors in it."""
    message: str = ""
    notes: tuple = ()


@dataclass
class Reading:
    """Collects what a caller reads."""

    seen: set = field(default_factory=set)
    dropped: set = field(default_factory=set)
    pieces: list = field(default_factory=list)

    def add(self, piece, *others):
        """A piece of the answer's text, and whatever else can be read beside it."""
        self.pieces.append(piece)
        for other in (piece, *map(str, others)):
            self.seen |= marks(other)

    def restart(self):
        """What was read is no answer: one comes now."""
        self.dropped |= self.seen
        self.seen, self.pieces = set(), []

    def close(self, outcome):
        """Tell the outcome what was read."""
        outcome.read, outcome.dropped = frozenset(self.seen), frozenset(self.dropped)
        outcome.text = digest("".join(self.pieces))


def tell_error(outcome, error):
    """Tell the outcome of an error, without keeping it: its traceback holds the whole call."""
    outcome.end, outcome.error, outcome.message = "error", type(error).__name__, str(error)
    outcome.notes = tuple(getattr(error, "__notes__", ()))
    causes = getattr(error, "exceptions", ())
    outcome.causes = tuple(type(cause).__name__ for cause in causes)
    # The texts of the causes are the clients' own; some quote what they could not read.
    outcome.told = frozenset().union(*map(marks, (outcome.message, *outcome.notes)))
