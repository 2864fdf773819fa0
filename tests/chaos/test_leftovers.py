"""What is left behind is found."""

import asyncio
import socket
import threading

import pytest

from tests.chaos import serving
from tests.chaos.growth import USED_BYTES, growth
from tests.chaos.leftovers import Before, tasks_left


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("name", "found"),
    [("cascade-lane-small", ["1 × cascade-lane-small"]), ("cascade-worker", []), ("cascade-decision_3", [])],
)
def test_a_thread_is_found_unless_its_pool_is_shared(name, found):
    before, ended = Before(), threading.Event()
    thread = threading.Thread(target=ended.wait, name=name)
    thread.start()
    try:
        assert before.left() == found
    finally:
        ended.set()
        thread.join()
    assert before.left() == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.enable_socket
def test_sockets_and_files_are_found(tmp_path):
    before = Before()
    with socket.socket(), (tmp_path / "left").open("w"):
        assert sorted(before.left()) == ["1 × files", "1 × sockets"]
    assert before.left() == []


def test_a_task_is_found():
    async def leave():
        task = asyncio.create_task(asyncio.sleep(60))
        found = await tasks_left(0.05)
        task.cancel()
        return found, await tasks_left()

    (left,), later = asyncio.run(leave())
    assert "sleep" in left
    assert later == []


def test_memory_that_grows_is_found():
    wave, flat = 1000, [900.0, 300, 301, 299, 300, 301, 300, 300]
    a_wave = 2 * USED_BYTES * wave / 2**20
    assert growth(flat, wave) == []
    assert growth([mb + number * a_wave for number, mb in enumerate(flat)], wave)
