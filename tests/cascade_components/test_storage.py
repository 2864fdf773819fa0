import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from cascade_components import storage
from cascade_components.storage import FORMAT, GROUPS, DamagedFileError, read_folder, write_folder
from tests.cascade_components import killed_writers


def write(folder, number=1.0, **facts):
    groups = {name: {"x": np.full((3, 2), number)} for name in GROUPS[:3]}
    write_folder(folder, {"number": number, **facts}, groups)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "policy")
    return tmp_path / "policy"


def file_of(folder, group="clusters"):
    return next(folder.glob(f"{group}*.safetensors"))


def change(folder, **facts):
    index = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(index | facts))


class TestWriting:
    def test_the_same_data_give_the_same_bytes(self, folder, tmp_path):
        write(tmp_path / "other")
        found = [{path.name: path.read_bytes() for path in place.iterdir()} for place in (folder, tmp_path / "other")]
        assert found[0] == found[1]

    def test_whoever_may_read_the_index_may_read_the_arrays(self, folder):
        assert len({stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}) == 1

    def test_what_the_new_policy_lacks_goes_and_what_is_not_ours_stays(self, folder):
        (folder / "README.md").write_text("our policy")
        write_folder(folder, {}, {name: {"x": np.zeros(2)} for name in GROUPS})
        write(folder, 2.0)
        assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == sorted(
            ["README.md", "policy.json", *GROUPS[:3]]
        )

    def test_a_file_or_a_folder_of_something_else_is_not_touched(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("years of work")
        for place in (tmp_path, tmp_path / "thesis.tex"):
            with pytest.raises(FileExistsError, match="no policy folder"):
                write(place)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("bad", [np.nan, "\ud800"])
    def test_what_json_cannot_hold_is_refused_before_anything_is_written(self, tmp_path, bad):
        with pytest.raises(ValueError, match=r"float|surrogate"):
            write(tmp_path / "policy", bad=bad)
        assert not list(tmp_path.iterdir())

    def test_after_an_error_all_is_as_it_was(self, folder, monkeypatch):
        before = {path.name for path in folder.iterdir()}

        def full(path):
            if storage._INDEX in str(path):
                raise OSError("No space left on device")

        monkeypatch.setattr("cascade_components.atomic.sync", full)
        for place in (folder, folder.parent / "new"):
            with pytest.raises(OSError, match="No space left"):
                write(place, 2.0)
        assert {path.name for path in folder.iterdir()} == before
        assert read_folder(folder).facts == {"number": 1.0}
        assert [path.name for path in folder.parent.iterdir()] == ["policy"]

    def test_content_is_on_the_disk_before_its_name_and_all_before_the_index(self, tmp_path, monkeypatch):
        folder, events = tmp_path / "policy", []
        fsync, replace = os.fsync, Path.replace

        def synced(handle):
            found = os.fstat(handle)
            places = [path for path in tmp_path.rglob("*") if path.stat().st_ino == found.st_ino]
            events.append(("sync", *(path.name.partition("-")[0] for path in places)))
            fsync(handle)

        def replaced(self, target):
            events.append(("name", target.name.partition("-")[0]))
            return replace(self, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", replaced)
        write(folder)
        files = [*GROUPS[:3], "policy.json"]
        each = [(("sync", name), ("name", name), ("sync", "policy")) for name in files]
        assert events == [*chain.from_iterable(each), ("sync",)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_killed_writers_and_full_disks_leave_the_old_policy_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", killed_writers.__name__, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    there, none, kills, refused, refused_new = map(int, done.stdout.split())
    assert min(there, none) > 100, "lines at which a writer was killed"
    assert kills > 10
    assert (refused, refused_new) == (4, 4)


def test_readers_and_writers_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    folder, failures, done = tmp_path / "policy", [], threading.Event()
    write(folder)

    def work(job):
        try:
            job()
        except BaseException as error:
            failures.append(error)

    def put():
        for number in [1.0, 2.0, 3.0] * 4:
            write(folder, number)

    def look():
        while not done.is_set():
            stored = read_folder(folder)
            assert all((arrays["x"] == stored.facts["number"]).all() for arrays in stored.arrays.values())

    writers, readers = ([threading.Thread(target=work, args=(job,)) for _ in range(3)] for job in (put, look))
    for thread in [*writers, *readers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert len(list(folder.iterdir())) == 1 + len(GROUPS[:3])


def test_without_locks_nothing_that_may_be_of_use_is_removed(folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unknown(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", unknown)
    write(folder, 2.0)
    assert read_folder(folder).facts == {"number": 2.0}
    assert len(list(folder.glob("*.safetensors"))) == 6
    monkeypatch.undo()
    write(folder, 3.0)
    assert len(list(folder.glob("*.safetensors"))) == 3


class TestReading:
    def refused(self, folder, match):
        with pytest.raises(ValueError, match=match) as caught:
            read_folder(folder)
        assert str(folder) in str(caught.value)

    def test_nothing_there(self, tmp_path):
        (tmp_path / "policy.json").mkdir()
        with pytest.raises(FileNotFoundError, match=r"holds no policy .*policy\.save"):
            read_folder(tmp_path)

    @pytest.mark.parametrize("group", GROUPS[:3])
    def test_missing_cut_and_changed_files_are_named(self, folder, group):
        file = file_of(folder, group)
        whole = file.read_bytes()
        for part in (b"", whole[:-1], whole[:100], whole[:-1] + b"\0", whole + b"0"):
            file.write_bytes(part)
            self.refused(folder, rf"{file.name} is damaged: its content is not what was written \(checksum\)")
        file.unlink()
        self.refused(folder, f"{file.name} is damaged: it is missing")

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "Expecting value"),
            ("[]", "must be an object, found list"),
            ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
            ('{"a": NaN}', "NaN is no number"),
            ('{"a": 1e999}', "1e999 is too large"),
            ('{"a": 1' + "0" * 99 + "}", "too large"),
            ('{"a": "\\ud800"}', "surrogates not allowed"),
            ("[" * 100_000, "nested too deeply"),
            ('{"a": ' * 100_000, "nested too deeply"),
            ("{}", "format must be a number from 1, found None"),
        ],
    )
    def test_what_is_wrong_with_the_index_is_told(self, folder, text, match):
        (folder / "policy.json").write_text(text)
        self.refused(folder, rf"policy\.json is damaged: .*{match}")

    def test_bytes_that_are_no_text(self, folder):
        (folder / "policy.json").write_bytes(b'{"a": "\xff"}')
        self.refused(folder, r"policy\.json is damaged: .*can't decode byte")

    def test_a_huge_index_is_not_read(self, folder):
        with (folder / "policy.json").open("ab") as file:
            file.truncate(10 << 30)  # a hole: it takes no room on the disk
        self.refused(folder, "larger than 64 MB")

    def test_a_change_by_hand_is_seen(self, folder):
        change(folder, number=1.5)
        self.refused(folder, "it was changed after it had been written")

    @pytest.mark.parametrize("version", [FORMAT + 1, 10**30])
    def test_a_newer_version(self, folder, version):
        (folder / "policy.json").write_text(json.dumps({"format": version, "checksums": ["as you like it"]}))
        self.refused(folder, "written by a newer version .*pip install -U")

    def test_an_older_version(self, folder):
        change(folder, format=1)
        self.refused(folder, "older version .*fit the policy again")

    @pytest.mark.parametrize("version", ["3", 3.0, True, None, -1, [3]])
    def test_no_version(self, folder, version):
        change(folder, format=version)
        self.refused(folder, "format must be a number from 1, found")

    def test_the_version_before_is_read(self, folder, tmp_path):
        old = tmp_path / "old"
        old.mkdir()
        checksums = {}
        for group in GROUPS[:3]:
            shutil.copy(file_of(folder, group), old / f"{group}.safetensors")
            checksums[f"{group}.safetensors"] = storage._sha256(old / f"{group}.safetensors")
        (old / "policy.json").write_text(json.dumps({"format": 2, "checksums": checksums, "number": 1.0}))
        assert read_folder(old).facts == {"number": 1.0}
        assert (read_folder(old).arrays["clusters"]["x"] == 1).all()
        write(old, 2.0)
        assert len(list(old.iterdir())) == 4, "its files are ours, and go"


class TestNamesOfFiles:
    """No name that lies in the data is ever the name of a file."""

    @pytest.mark.parametrize(
        "name", ["../secret", "/etc/passwd", "..", "", "clusters\0", "clusters.safetensors", "policy", "x" * 9000]
    )
    @pytest.mark.parametrize("version", [2, 3])
    def test_only_known_groups_have_files(self, folder, name, version):
        index = json.loads((folder / "policy.json").read_text())
        if version == 2:
            del index["checksums"]["facts"]
        if (version, name) == (2, "clusters.safetensors"):
            return  # what it was called then
        (folder.parent / "secret.safetensors").write_bytes(file_of(folder).read_bytes())
        checksums = index["checksums"] | {name: index["checksums"]["clusters"]}
        change(folder, format=version, checksums=checksums)
        with pytest.raises(DamagedFileError, match="checksums has"):
            read_folder(folder)

    @pytest.mark.parametrize("checksum", ["../../secret", "0" * 63, "A" * 64, "0" * 64 + "\n", 1, None, [], {}])
    def test_a_checksum_is_a_checksum(self, folder, checksum):
        index = json.loads((folder / "policy.json").read_text())
        change(folder, checksums=index["checksums"] | {"clusters": checksum})
        with pytest.raises(DamagedFileError, match=r"checksums\.clusters must be 64 hexadecimal digits, found"):
            read_folder(folder)

    @pytest.mark.parametrize("checksums", [None, [], "x", {}, {"facts": "0" * 64}])
    def test_every_part_has_a_checksum(self, folder, checksums):
        change(folder, checksums=checksums)
        with pytest.raises(DamagedFileError, match="checksums must"):
            read_folder(folder)

    @pytest.mark.parametrize("name", ["policy.json", "clusters"])
    def test_a_link_out_of_the_folder_is_refused(self, folder, tmp_path, name):
        file = folder / name if name.endswith("json") else file_of(folder, name)
        elsewhere = tmp_path / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
        with pytest.raises(DamagedFileError, match=f"{file.name} is damaged: it is a link out of the policy's folder"):
            read_folder(folder)

    def test_links_inside_the_folder_are_followed(self, folder):
        """As Kubernetes mounts files."""
        (folder / "..data").mkdir()
        for file in list(folder.glob("*.*")):
            if file.is_file():
                file.rename(folder / "..data" / file.name)
                file.symlink_to(os.path.join("..data", file.name))  # noqa: PTH118
        (folder.parent / "link").symlink_to(folder)
        assert read_folder(folder.parent / "link").facts == {"number": 1.0}
