import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cascade_components.vector_store import BATCH, StoredEncoder, VectorStore

DIM = 8


def vectors_of(texts):
    return np.array([np.full(DIM, float(text.split()[-1])) for text in texts], np.float32)


class Counting:
    """Remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return vectors_of(texts)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "vectors.sqlite"


@pytest.fixture
def store(path):
    found = VectorStore(path, "words")
    yield found
    found.close()


def test_what_was_encoded_once_is_not_encoded_again_to_the_bit(store):
    texts = [f"text {n / 7}" for n in range(2 * BATCH + 3)]
    first, second = Counting(), Counting()
    before = StoredEncoder(first, store)(texts)
    after = StoredEncoder(second, store)([*texts[::-1], "text 9"])
    assert first.asked == texts
    assert second.asked == ["text 9"]
    assert np.array_equal(after[:-1][::-1], before)


def test_another_encoder_has_vectors_of_its_own(store, path):
    store.write(["text 1"], vectors_of(["text 1"]))
    other = VectorStore(path, "letters")
    assert other.read(["text 1"]) == {}
    other.close()


def test_it_holds_no_text_and_is_its_owners_alone(store, path):
    store.write(["secret 1"], vectors_of(["secret 1"]))
    store.close()
    assert b"secret" not in path.read_bytes()
    if os.name == "posix":
        assert path.stat().st_mode & 0o77 == 0
        assert path.parent.stat().st_mode & 0o77 == 0


def test_the_oldest_go_when_it_is_full(path):
    store = VectorStore(path, "words", most_bytes=200_000)
    texts = [f"text {n}" for n in range(8000)]
    for start in range(0, len(texts), 100):
        store.write(texts[start : start + 100], vectors_of(texts[start : start + 100]))
    kept = store.read(texts)
    store.close()
    assert 500 < len(kept) < len(texts)
    assert sorted(map(texts.index, kept)) == list(range(len(texts) - len(kept), len(texts)))
    assert path.stat().st_size < 400_000


WRITER = """
import sys, time
from pathlib import Path
from tests.cascade_components.test_vector_store import vectors_of
from cascade_components.vector_store import BATCH, StoredEncoder, VectorStore
asked = 0
def slow(texts):
    global asked
    asked += 1
    print(asked, flush=True)
    time.sleep(0.02)
    return vectors_of(texts)
first, last = int(sys.argv[2]), int(sys.argv[3])
StoredEncoder(slow, VectorStore(Path(sys.argv[1]), "words"))([f"text {n}" for n in range(first, last)])
"""


def writing(path, first, last):
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_midway_loses_one_batch_at_most(path):
    process = writing(path, 0, 100 * BATCH)
    begun = 0
    while begun < 6:
        begun = int(process.stdout.readline())
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    begun = int((process.communicate()[0].split() or [begun])[-1])
    resumed = Counting()
    store = VectorStore(path, "words")
    texts = [f"text {n}" for n in range((begun + 1) * BATCH)]
    StoredEncoder(resumed, store)(texts)
    store.close()
    assert len(resumed.asked) <= 2 * BATCH, "the batch that was being encoded, and one that nobody had begun"


def test_processes_and_threads_share_it(store, path):
    processes = [writing(path, start, start + 4 * BATCH) for start in (0, 2 * BATCH)]
    texts = [f"text {n}" for n in range(6 * BATCH, 10 * BATCH)]
    encoder = StoredEncoder(vectors_of, store)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(encoder, [texts[part::8] for part in range(8)]))
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        process.stdout.close()
    everything = [f"text {n}" for n in range(10 * BATCH)]
    found = store.read(everything)
    assert all(
        np.array_equal(found[text], vector) for text, vector in zip(everything, vectors_of(everything), strict=True)
    )


@pytest.mark.parametrize("broken", ["read", "write"])
def test_a_store_that_fails_is_left_alone(store, broken, monkeypatch, caplog):
    def fail(*arguments):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, broken, fail)
    encoder = StoredEncoder(vectors_of, store)
    for number in range(2):
        assert encoder([f"text {number}"]).tolist() == [[number] * DIM]
    assert [record.getMessage() for record in caplog.records] == [
        f"The cache of embeddings {store.path} is left alone: database or disk is full."
    ]


def test_a_file_that_is_no_store_is_an_error(path):
    path.parent.mkdir()
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        VectorStore(path, "words")
