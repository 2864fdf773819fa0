import sys
from pathlib import Path

import pytest

from cascade_components.cache_folder import cache_folder


def test_the_environment_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep it elsewhere")
def test_else_it_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("CASCADE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cascade-components"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/cascade-components"
