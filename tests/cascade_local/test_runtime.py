import gc
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cascade_local import ChatLocal, fetch, runtime

BODY = {
    "messages": [{"role": "user", "content": "Count upwards from one."}],
    "max_tokens": 6,
    "temperature": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def text_of(chunks):
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_cores_are_those_of_this_process():
    assert runtime.usable_cores() >= 1


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.gguf"):
        runtime.load(tmp_path / "none.gguf", 512, 1)


def test_other_file_is_told(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("once upon a time", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a GGUF file"):
        runtime.load(path, 512, 1)


def test_damaged_file_is_told(tmp_path, capfd):
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(RuntimeError, match=r"cannot load .*damaged\.gguf"):
        runtime.load(path, 512, 1)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def loaded(chat):
    return runtime.load(fetch("smollm2-135m"), 1024, 1)


@pytest.mark.local
class TestLoaded:
    def test_same_request_shares_the_model(self, loaded):
        assert runtime.load(fetch("smollm2-135m"), 1024, 1) is loaded

    def test_copy_is_the_same_model(self, loaded):
        assert pickle.loads(pickle.dumps(loaded)) is loaded

    def test_no_port_is_opened(self, loaded):
        address = urlsplit(loaded.address)
        assert address.scheme == "unix"
        assert Path(address.path).parent.stat().st_mode & 0o077 == 0

    def test_longer_context_than_trained_is_told(self, chat):
        with pytest.raises(ValueError, match="was trained for 8192 tokens"):
            runtime.load(fetch("smollm2-135m"), 16384, 1)

    def test_one_that_is_too_short_is_freed_at_once(self, loaded):
        """In a process of its own, on one core: llama.cpp used to wait for ever for a loop that had not begun."""
        pin = "import os; os.sched_setaffinity(0, {0})\n" if hasattr(os, "sched_setaffinity") else ""
        code = f"""{pin}
from pathlib import Path
from cascade_local import runtime
for _ in range(5):
    try:
        runtime.load(Path({str(fetch("smollm2-135m"))!r}), 16384, 1)
    except ValueError:
        continue
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=200)

    def test_llama_errors_surface(self, loaded):
        with pytest.raises(RuntimeError, match=r"llama\.cpp: .*messages"):
            next(loaded.stream({"messages": "no list"}))

    def test_time_limit_holds_and_the_next_call_works(self, loaded):
        with pytest.raises(TimeoutError, match=r"more than 0\.2 s"):
            text_of(loaded.stream(BODY | {"max_tokens": 900}, timeout_s=0.2))
        assert text_of(loaded.stream(BODY))

    def test_early_close_leaves_the_next_call_whole(self, loaded):
        whole = text_of(loaded.stream(BODY))
        stream = loaded.stream(BODY | {"max_tokens": 900})
        next(stream)
        stream.close()
        assert text_of(loaded.stream(BODY)) == whole

    def test_cut_connection_is_an_error(self, loaded):
        stream = loaded.stream(BODY | {"max_tokens": 900})
        next(stream)
        for channel in list(loaded._sockets):
            channel.shutdown(socket.SHUT_RDWR)
        with pytest.raises(RuntimeError, match="broke the answer off"):
            text_of(stream)

    def test_loading_at_once_loads_once(self, chat):
        models, path = [], fetch("smollm2-135m")
        threads = [threading.Thread(target=lambda: models.append(runtime.load(path, 768, 1))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(models) == 4
        assert len(set(models)) == 1

    def test_last_user_frees_the_model(self, chat):
        user = ChatLocal(model="smollm2-135m", threads=1, context_window=512)
        assert user.get_num_tokens("one two") == 2
        folder = Path(urlsplit(runtime.load(fetch("smollm2-135m"), 512, 1).address).path).parent
        assert folder.exists()
        del user
        gc.collect()
        assert not folder.exists()

    @pytest.mark.enable_socket
    def test_without_unix_sockets_the_port_wants_a_key(self, chat, monkeypatch):
        monkeypatch.setattr(runtime, "_LONGEST_SOCKET_PATH", 0)
        loaded = runtime.load(fetch("smollm2-135m"), 640, 1)
        assert urlsplit(loaded.address).hostname == "127.0.0.1"
        assert text_of(loaded.stream(BODY))
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{loaded.address}/v1/chat/completions", json.dumps(BODY).encode())

    @pytest.mark.parametrize(
        "last",
        ["model.invoke('hi', max_tokens=2)", "stream = model.stream('Count upwards.'); next(stream)"],
        ids=["after a call", "within a stream"],
    )
    def test_interpreter_ends_cleanly(self, chat, last):
        code = (
            "from cascade_local import ChatLocal\n"
            f"model = ChatLocal(model='smollm2-135m', threads=1, max_tokens=900)\n{last}"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
