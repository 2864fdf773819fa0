"""The README tells the truth: its snippet runs, its table is what the quickstart prints."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) < 200


@pytest.mark.local
def test_the_snippet_runs(tmp_path, monkeypatch, capsys):
    data = "integrations/cascade-cli/cascade_cli/data"
    shutil.copytree(ROOT / data, tmp_path / data)
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "Warsaw" in shown
    assert names["trace"]["done"]
    assert names["message"].usage_metadata["output_tokens"] > 0


def test_every_file_that_it_links_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists()
    for folder in re.findall(r"^\| `([^`]+/)` \|", README, re.MULTILINE):
        assert (ROOT / folder).is_dir()
