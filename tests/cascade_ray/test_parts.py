"""What a worker does with a part, without a cluster: it is a class like any other."""

import pickle
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from cascade_cli.capture_pool import read_pool_file
from cascade_cli.capture_setup import read_setup
from cascade_ray.capturing import _workers
from cascade_ray.part_worker import QUESTION, PartWorker, shared
from cascade_ray.parts import Parts
from cascade_ray.purse import Purse, SharedBudget
from langchain_cascade.captures.budget import CapReachedError
from tests.cascade_cli.test_capture import KEY, asked, options, write
from tests.openai_server import Reply

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def setup(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTURE_KEY", KEY)
    server.replies |= {"small": Reply("I say 3."), "large": lambda body: Reply(f"So {asked(body)} it is.")}
    write(tmp_path, server, count=6)
    return read_setup(options(tmp_path, ray="local"))


def worked(setup, parts, workers=1):
    """What a worker has done with all questions, part by part."""
    numbers = [parts.number(question.id) for question in setup.questions]
    order = np.argsort(numbers, kind="stable")
    texts = np.array([QUESTION.dump_json(question).decode() for question in setup.questions])
    with closing(PartWorker(setup, parts, workers)) as worker:
        batch = worker({"part": np.array(numbers)[order], "question": texts[order]})
    assert batch["part"].tolist() == sorted(set(numbers))
    return [pickle.loads(one) for one in batch["done"]]


def test_a_worker_asks_what_is_missing_in_each_part_and_grades_all_of_it(setup, server, tmp_path):
    parts = Parts.of(tmp_path / "parts", questions=6, workers=1)
    assert parts.count == 4
    for _ in range(2):
        found = worked(setup, parts)
        assert [one.error for one in found] == [None] * len(found)
        rows = [row for one in found for row in one.graded.rows]
        assert len(rows) == 12
        assert {(row["query_id"], row["correct"]) for row in rows if row["model"] == "small"} == {
            (f"q{number}", float(number == 3)) for number in range(6)
        }
        assert sum(one.answers for one in found) == 12
        assert sum(one.spent_usd for one in found) == pytest.approx(12 * 13e-6)
        assert len(server.bodies) == 12
    assert Parts.of(tmp_path / "parts", questions=5000, workers=9) == parts


def test_what_must_end_the_run_is_told_as_it_is(setup, tmp_path, monkeypatch):
    parts = Parts(tmp_path / "parts", 1)
    worked(setup, parts)
    setup.pool.models["small"].sampling["temperature"] = 1
    (found,) = worked(setup, parts)
    assert isinstance(found.error, ValueError)
    assert "holds answers of 'small' with other settings" in str(found.error)
    monkeypatch.delenv("CAPTURE_KEY")
    (found,) = worked(setup, parts)
    assert "environment variable CAPTURE_KEY is not set" in str(found.error)


def test_a_refused_model_is_asked_no_more_in_any_part(setup, server, tmp_path):
    server.replies["large"] = Reply(status=401)
    parts = Parts(tmp_path / "parts", 4)
    found = worked(setup, parts, workers=4)  # a quarter of four calls at a time
    assert sum(body["model"] == "large" for body in server.bodies) == 1
    assert all("CAPTURE_KEY was refused" in one.filled.given_up["large"] for one in found)
    assert sum(len(one.graded.rows) for one in found) == 6


def test_workers_share_the_limits_of_providers(setup, tmp_path):
    setup.pool.models["small"] = setup.pool.models["small"].model_copy(
        update={"concurrency": 9, "requests_per_minute": 60}
    )
    small = shared(setup.pool, 4).models["small"]
    assert (small.concurrency, small.requests_per_minute) == (2, 15)
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 16.0})
    assert _workers(ray, setup.pool, None) == 4
    assert _workers(ray, setup.pool, 3) == 3
    with pytest.raises(ValueError, match="5 workers cannot share the 4 calls that large may be asked"):
        _workers(ray, setup.pool, 5)
    (tmp_path / "local.yaml").write_text("models: {tiny: {model: qwen2.5-0.5b}}")
    local = read_pool_file(tmp_path / "local.yaml")
    assert shared(local, 4) == local
    nodes = SimpleNamespace(**vars(ray), nodes=lambda: [{"Alive": True}, {"Alive": True}, {"Alive": False}])
    assert _workers(nodes, local, None) == 2


class Held:
    """A purse whose methods are called as those of an actor's handle."""

    def __init__(self, purse):
        self._purse = purse

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._purse, name))


def test_what_a_killed_worker_had_reserved_counts_as_spent(setup, monkeypatch):
    monkeypatch.setattr("ray.get", lambda found: found)
    purse = Purse(cap=1.0, spent=0.25)
    first = SharedBudget(1.0, Held(purse), 0)
    assert first.take(0.5)
    second = SharedBudget(1.0, Held(purse), 1)
    assert not second.take(0.5)  # it may yet come back
    SharedBudget(1.0, Held(purse), 0)  # the first is dead: another takes its part up
    with pytest.raises(CapReachedError, match=r"cap of 1 USD is reached: 0\.75 USD are spent"):
        second.take(0.5)
    assert second.take(0.25)
    second.pay(SimpleNamespace(name="small"), 0.125, 1)
    second.give_back(0.25)
    assert second.take(0.125)


def test_one_place_for_one_capture(setup, tmp_path):
    parts = Parts(tmp_path / "out.capture", 2)
    with parts.open(0):
        pass
    with pytest.raises(ValueError, match=r"out\.capture holds answers that were captured with --ray"):
        read_setup(options(tmp_path))
    with Parts(tmp_path / "out.capture", 3).open(0):
        pass
    with pytest.raises(ValueError, match="parts of two captures"):
        Parts.of(tmp_path / "out.capture", questions=6, workers=1)
    (tmp_path / "out.capture").rename(tmp_path / "elsewhere")
    (tmp_path / "out.capture.sqlite").touch()
    with pytest.raises(ValueError, match=r"out\.capture\.sqlite holds answers that were captured without --ray"):
        read_setup(options(tmp_path, ray="auto"))
