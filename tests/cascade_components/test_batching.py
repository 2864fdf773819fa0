import os
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_components.encoders import Batcher, CachedEncoder


def lengths(texts):
    return np.array([[float(len(text)), 1.0] for text in texts])


class Slow:
    """An encoder that is busy for a while, and remembers its batches."""

    def __init__(self, seconds=0.02, poison=None):
        self.seconds = seconds
        self.poison = poison
        self.batches = []
        self.inside = 0

    def __call__(self, texts):
        self.inside += 1
        assert self.inside == 1, "two threads encode at the same time"
        self.batches.append(list(texts))
        time.sleep(self.seconds)
        self.inside -= 1
        if self.poison in texts:
            raise ValueError(f"{self.poison} cannot be read")
        return lengths(texts)


def at_once(calls):
    """Make the calls in threads of their own; their results, or what they raised."""
    found = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def make(number, call):
        start.wait()
        try:
            found[number] = call()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=make, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    return found


def test_a_lone_caller_is_encoded_at_once():
    encode = Slow(seconds=0)
    batcher = Batcher(encode)
    started = time.perf_counter()
    for number in range(100):
        batcher([str(number)])
    assert time.perf_counter() - started < 0.1
    assert len(encode.batches) == 100


def test_who_comes_while_a_batch_runs_is_in_the_next_one():
    encode = Slow()
    batcher = Batcher(encode)
    texts = ["x" * (number + 1) for number in range(24)]
    found = at_once([lambda text=text: batcher([text]) for text in texts])
    assert [vectors[0, 0] for vectors in found] == [len(text) for text in texts]
    assert len(encode.batches) <= 4


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.text("ab", max_size=4), max_size=3), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_everyone_gets_their_own_vectors_in_batches_that_are_bounded(calls, most_texts, most_characters):
    encode = Slow(seconds=0.001)
    batcher = Batcher(encode, most_texts=most_texts, most_characters=most_characters)
    found = at_once([lambda texts=texts: batcher(texts) for texts in calls if texts])
    for texts, vectors in zip((texts for texts in calls if texts), found, strict=True):
        assert vectors.tolist() == lengths(texts).tolist()
    largest = max((len(texts) for texts in calls), default=0)
    assert all(len(batch) <= max(most_texts, largest) for batch in encode.batches)


def test_a_poisoned_text_fails_its_own_call_only():
    encode = Slow(poison="poison")
    batcher = Batcher(encode)
    found = at_once([lambda text=text: batcher([text]) for text in ("a", "bb", "poison", "ccc", "dddd")])
    assert isinstance(found[2], ValueError)
    assert [one[0, 0] for one in found[:2] + found[3:]] == [1, 2, 3, 4]


def test_a_vector_that_is_not_finite_fails_its_own_call_only():
    def encode(texts):
        time.sleep(0.01)
        return np.array([[np.nan if text == "poison" else 1.0] for text in texts])

    cached = CachedEncoder(encode)
    found = at_once([lambda text=text: cached([text]) for text in ("a", "poison", "b", "c")])
    assert [isinstance(one, ValueError) for one in found] == [False, True, False, False]


def test_an_encoder_that_returns_too_few_vectors_for_a_batch_is_asked_call_by_call():
    batcher = Batcher(lambda texts: time.sleep(0.01) or lengths(texts[:1]))
    found = at_once([lambda text=text: batcher([text]) for text in ("a", "bb", "ccc")])
    assert [one[0, 0] for one in found] == [1, 2, 3]


def test_an_interrupted_caller_leaves_nobody_waiting():
    class Interrupted(BaseException):
        pass

    first = threading.Event()

    def encode(texts):
        if not first.is_set():
            first.set()
            time.sleep(0.05)
            raise Interrupted
        return lengths(texts)

    batcher = Batcher(encode)

    def interrupted():
        with pytest.raises(Interrupted):
            batcher(["a"])

    thread = threading.Thread(target=interrupted)
    thread.start()
    first.wait()
    assert batcher(["bb"])[0, 0] == 2
    thread.join()
    assert batcher(["ccc"])[0, 0] == 3


def test_threads_that_ask_for_the_same_text_have_it_encoded_once():
    encode = Slow()
    cached = CachedEncoder(encode)
    at_once([lambda: cached(["busy"]), *[lambda: cached(["same"])] * 8])
    assert sum(batch.count("same") for batch in encode.batches) <= 2  # at most: in the first batch, and the next


def test_it_works_in_a_process_forked_while_a_batch_runs():
    encode = Slow(seconds=0.1)
    cached = CachedEncoder(encode)
    thread = threading.Thread(target=lambda: cached(["a"]))
    thread.start()
    while not encode.batches:
        time.sleep(0.001)
    encode.inside = 0  # in the child nobody encodes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while there are threads
        child = os.fork()
    if child == 0:
        encode.seconds = 0
        os._exit(0 if cached(["bb"])[0, 0] == 2 else 1)
    encode.inside = 1
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_thread_is_left():
    before = threading.active_count()
    cached = CachedEncoder(Slow(seconds=0.001))
    at_once([lambda number=number: cached([str(number)]) for number in range(16)])
    assert threading.active_count() == before


def test_under_load_a_batch_waits_for_the_callers_of_the_last_one():
    encoder = Slow(0.01)
    batcher = Batcher(encoder)

    def ask_on():
        return [batcher([f"{threading.get_ident()} {number}"]) for number in range(10)]

    at_once([ask_on] * 16)
    assert np.median([len(batch) for batch in encoder.batches]) > 10  # without the wait, two halves take turns
