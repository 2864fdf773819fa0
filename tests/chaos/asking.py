"""What each caller asks, and how: drawn from a seed."""

import random
from dataclasses import dataclass

TOPICS = ("sums", "poems", "code")
WAYS = ("invoke", "stream", "ainvoke", "astream")
STREAMS = ("stream", "astream")


@dataclass(frozen=True)
class Asked:
    """One caller's wish."""

    number: int
    text: str
    framework: str
    setting: str
    way: str
    shape: str
    """`text`, `tools`, or `structure`."""
    gives_up: bool
    """The caller goes away before the end: it cancels, or leaves its stream."""

    @property
    def is_async(self):
        """Whether the caller is a task, not a thread."""
        return self.way.startswith("a")


def asked(seed, number):
    """What the caller of this number asks."""
    rng = random.Random(f"{seed}/{number}")
    way = rng.choice(WAYS)
    shape = rng.choices(("text", "tools", "structure"), (70, 15, 15))[0]
    if shape == "structure" and way in STREAMS:
        shape = "text"
    framework = rng.choice(("langchain", "llama_index"))
    # A synchronous stream of LlamaIndex's OpenAI class that is left early is closed by the garbage collector, and
    # httpcore deadlocks if that comes at a bad moment: test_abandoned.py has more.
    leaves = way != "invoke" and (framework, way) != ("llama_index", "stream")
    return Asked(
        number=number,
        text=f"{rng.choice(TOPICS)} question #{number}",
        framework=framework,
        setting=rng.choices(("bare", "defaults", "retrying", "hedging"), (45, 25, 5, 25))[0],
        way=way,
        shape=shape,
        gives_up=rng.random() < 0.06 and leaves,
    )
