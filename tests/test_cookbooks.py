"""The cookbooks tell the truth: their blocks run, one after the other, and show what the text says."""

import asyncio
import os
import re
import sys
from pathlib import Path

import llama_index.core
import pytest
from llama_index.core import Settings
from llama_index.core.instrumentation import get_dispatcher

from tests.langchain_cascade.openai_server import Reply, serving

COOKBOOKS = Path(__file__).parents[1] / "cookbooks"


def blocks(name):
    """The Python blocks of a cookbook."""
    return re.findall(r"```python\n(.*?)```", (COOKBOOKS / name).read_text(encoding="utf-8"), re.DOTALL)


def run(name):
    """Run a cookbook's blocks; return its names."""
    names: dict = {"__name__": "cookbook"}
    for number, block in enumerate(blocks(name)):
        exec(compile(block, f"{name}, block {number + 1}", "exec"), names)
    return names


@pytest.fixture
def llama_index_as_new(monkeypatch):
    """LlamaIndex's global settings and handlers as new; words for tokens, for its tokenizer may fetch a vocabulary."""
    for name in vars(Settings):
        monkeypatch.setattr(Settings, name, None)
    monkeypatch.setattr(llama_index.core, "global_tokenizer", str.split)
    root = get_dispatcher()
    before = root.event_handlers
    root.event_handlers = list(before)
    loop = asyncio.new_event_loop()  # else LlamaIndex makes one, and leaves it open
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
    root.event_handlers = before


@pytest.mark.enable_socket
@pytest.mark.usefixtures("llama_index_as_new")
def test_rag_in_llama_index(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with serving() as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        server.replies = {"gpt-4o-mini": Reply("At nine."), "gpt-4o": Reply("36 euros.")}
        names = run("llama_index_rag.md")
    shown = capsys.readouterr().out
    assert "When does the library open on Friday? At nine.\n['small'] 0.000003 USD" in shown
    assert "pay for library cards in all? 36 euros.\n['large'] 0.000048 USD cluster" in shown
    assert [trace["path"] for trace in names["ledger"].traces] == [["small"], ["large"]]
    first, second = (body["messages"][-1]["content"] for body in server.bodies)
    assert "opens at nine" in first
    assert "costs twelve euros" in second
    assert {block["model"] for block in server.bodies} == {"gpt-4o-mini", "gpt-4o"}
    assert (tmp_path / "cheaper").is_dir()


@pytest.mark.local
@pytest.mark.enable_socket
def test_an_agent_over_mcp(tmp_path, monkeypatch, capfd):
    def reply(body):
        last = body["messages"][-1]
        if last["role"] == "tool":
            return Reply(f"They say: {last['content']}")
        return Reply(calls=(("ask", {"question": "What is the plural of berry?"}),))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        server.replies = {"gpt-4o-mini": reply}
        names = run("agent_over_mcp.md")
    shown = capfd.readouterr().out
    assert "plan: smollm2-135m" in shown
    assert "berries" in names["messages"][-1].text
    assert set(names["came_about"]["path"]) <= {"smollm2-135m", "qwen2.5-0.5b"}
    assert names["came_about"]["cost_usd"] > 0


@pytest.mark.parametrize("cookbook", sorted(path.name for path in COOKBOOKS.glob("*.md")))
def test_every_file_that_a_cookbook_links_is_there(cookbook):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (COOKBOOKS / cookbook).read_text(encoding="utf-8")):
        assert (COOKBOOKS / target).exists()
