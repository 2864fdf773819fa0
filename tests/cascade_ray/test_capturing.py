"""`cascade capture --ray` on a cluster of two nodes: a driver and a worker killed, nothing lost."""

import json
import os
import signal
import time
from collections import Counter

import pytest

import cascade_components as cc
from cascade_cli.capture import run_capture
from tests.cascade_cli.test_capture import KEY, asked, options, write
from tests.openai_server import Reply

pytestmark = [pytest.mark.enable_socket, pytest.mark.ray, pytest.mark.timeout(600)]

CAPTURE = """
from cascade_cli.main import run
run()
"""
COUNT, UNDER_WAY = 60, 4
"""Questions; and calls that a worker has under way: two models, of each its half of four."""


def capture(cluster, folder):
    given = ["pool.yaml", "q.jsonl", "--grader", "contains", "--output", "out.jsonl", "--json"]
    return cluster.run(CAPTURE, folder, "capture", *given, "--ray", cluster.address, "--workers", "2")


def wait_for(server, count, process):
    while len(server.bodies) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def told(outcomes):
    return {(row.query_id, row.model, row.run): (row.output, row.correct, row.cost_usd) for row in outcomes}


def test_neither_a_killed_driver_nor_a_killed_worker_loses_or_repeats_an_answer(cluster, server, tmp_path, monkeypatch):
    write(tmp_path, server, count=COUNT, concurrency=4)
    server.replies |= {name: (lambda body: Reply(f"So {asked(body)}.", wait_s=0.1)) for name in ("small", "large")}
    driver = capture(cluster, tmp_path)
    wait_for(server, 20, driver)
    driver.kill()
    driver.communicate()

    driver = capture(cluster, tmp_path)
    wait_for(server, 50, driver)
    os.kill(cluster.workers("MapWorker(MapBatches(PartWorker))")[0], signal.SIGKILL)
    shown, errors = driver.communicate(timeout=400)
    assert driver.returncode == 0, errors
    result = json.loads(shown)
    assert (result["outcomes"], result["notes"]) == (2 * COUNT, [])

    times = Counter((body["model"], asked(body)) for body in server.bodies)
    assert len(times) == 2 * COUNT
    assert max(times.values()) <= 3
    assert times.total() - 2 * COUNT <= 3 * UNDER_WAY  # of the two workers that the first driver had, and of the one

    monkeypatch.setenv("CAPTURE_KEY", KEY)
    (tmp_path / "alone").mkdir()
    write(tmp_path / "alone", server, count=COUNT, concurrency=4)
    run_capture(options(tmp_path / "alone"))
    here, there = (cc.load_outcomes(folder / "out.jsonl") for folder in (tmp_path, tmp_path / "alone"))
    assert list(told(here)) == list(told(there))  # in the same order
    assert told(here) == told(there)
    written = [file for folder in (tmp_path, cluster.folder) for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in written if KEY.encode() in file.read_bytes()]
