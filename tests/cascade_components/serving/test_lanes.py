import contextvars
import threading

import pytest

from cascade_components.serving.lanes import MOST_LEFT, Lanes

WORD = contextvars.ContextVar("word", default="none")


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("cascade-lane-")]


def test_tasks_run_in_order_in_the_context_of_who_opened_the_lane():
    token = WORD.set("mine")
    lane = Lanes().open("small")
    WORD.reset(token)
    assert lane.run(WORD.get, 5) == "mine"
    with pytest.raises(ZeroDivisionError):
        lane.run(lambda: 1 / 0, 5)
    closed = []
    lane.close(lambda: closed.append(True))
    assert closed == [True]
    for thread in alive():
        thread.join(5)
    assert alive() == []


def test_a_lane_that_hangs_is_left_behind_and_too_many_are_not():
    lanes, let_go = Lanes(), threading.Event()
    closed = []
    for _ in range(MOST_LEFT):
        lane = lanes.open("small")
        with pytest.raises(TimeoutError, match=r"small sent nothing for 0\.001 s"):
            lane.run(lambda: let_go.wait(20), 0.001)
        lane.close(lambda: closed.append(True))
    with pytest.raises(TimeoutError, match="32 calls of small that were given up still run"):
        lanes.open("small")
    lanes.open("large").close()
    let_go.set()
    for thread in alive():
        thread.join(5)
    assert (alive(), len(closed)) == ([], MOST_LEFT)
    lanes.open("small").close()
