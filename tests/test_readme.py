"""The README tells the truth: its snippet runs, its table is what the quickstart prints."""

import re
import shutil
from pathlib import Path

import pytest

import cascade_components as cc
from tests.openai_server import Reply

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) < 200


@pytest.mark.local
def test_the_snippet_runs(tmp_path, monkeypatch, capsys):
    data = "integrations/cascade-cli/cascade_cli/data"
    shutil.copytree(ROOT / data, tmp_path / data)
    monkeypatch.chdir(tmp_path)
    snippet, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "Warsaw" in shown
    assert names["trace"]["done"]
    assert names["message"].usage_metadata["output_tokens"] > 0


@pytest.mark.enable_socket
def test_the_snippet_of_llama_index_runs(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "query_id": str(number),
            "query": f"What is the opposite of {word}?",
            "model": name,
            "correct": 1,
            "cost_usd": cost,
        }
        for number, word in enumerate(["hot", "tall", "dark", "early", "cheap", "happy", "full", "wet"])
        for name, cost in {"small": 0.001, "large": 0.01}.items()
    ]
    cc.fit(rows, clusters=1, quality=None, cache=None).save("policy/")
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.replies = {"gpt-4o-mini": Reply("cold")}
    _, snippet = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out == "cold ['small']\n"


def test_every_file_that_it_links_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists()
    for folder in re.findall(r"^\| `([^`]+/)` \|", README, re.MULTILINE):
        assert (ROOT / folder).is_dir()
