import threading
import time
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cascade_components.encoders.line import LONGEST_WAIT_S, Line


@dataclass(eq=False)
class Call:
    texts: list = field(default_factory=lambda: ["a text"])


def timed(take):
    started = time.perf_counter()
    return take(), time.perf_counter() - started


def test_after_a_batch_of_several_the_next_waits_a_moment_for_as_many():
    lock = threading.Lock()
    line, alone = Line(lock), Call()
    with lock:
        line.served([Call()] * 16)
        line.join(alone)
        batch, seconds = timed(line.take)
        assert batch == [alone]
        assert LONGEST_WAIT_S / 2 < seconds < 0.5
        line.served(batch)  # the others did not come: nobody is expected any more
        line.join(alone)
        batch, seconds = timed(line.take)
        assert batch == [alone]
        assert seconds < LONGEST_WAIT_S / 2


def test_it_goes_on_as_soon_as_all_who_are_expected_have_come():
    lock = threading.Lock()
    line = Line(lock)

    def come_again():
        for _ in range(8):
            with lock:
                line.join(Call())

    thread = threading.Thread(target=come_again)
    with lock:
        line.served([Call()] * 8)
        thread.start()
        assert len(line.take()) == 8
    thread.join()


@given(st.lists(st.lists(st.text("ab", max_size=4), max_size=3), max_size=12), st.integers(1, 5), st.integers(1, 12))
def test_batches_are_bounded_and_in_order(calls, most_texts, most_characters):
    lock = threading.Lock()
    line = Line(lock, most_texts, most_characters)
    waiting = [Call(texts) for texts in calls]
    with lock:
        for one in waiting:
            line.join(one)
        taken = []
        while batch := line.take():
            texts = [text for one in batch for text in one.texts]
            assert len(batch) == 1 or (len(texts) <= most_texts and sum(map(len, texts)) <= most_characters)
            taken += batch
    assert taken == waiting


def test_who_left_is_not_taken_and_who_is_put_back_comes_first():
    lock = threading.Lock()
    line, (first, second, third) = Line(lock), [Call() for _ in range(3)]
    with lock:
        for one in (first, second, third):
            line.join(one)
        line.leave(second)
        assert line.take() == [first, third]
        line.leave(first)  # it is not there: nothing happens
        line.join(second)
        line.put_back([first, third])
        assert line.take() == [first, third, second]
