"""The cookbooks tell the truth: they run, they say what is stored in them, and what they link is there."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.openai_server import Reply

COOKBOOKS = Path(__file__).parents[1] / "cookbooks"
NOTEBOOKS = sorted(path.name for path in COOKBOOKS.glob("*.ipynb"))
NO_MODEL = {"05_fit_from_logs.ipynb", "06_custom_estimator.ipynb", "07_change_the_pool.ipynb"}
"""Those that live on recorded outcomes alone."""

MOST_BYTES = 20_000
SECONDS = 240
"""For one cell: on a machine that does much else, too."""

TAG = "same"
"""Of cells that print the same whatever the machine."""


def stored(name):
    return nbformat.read(COOKBOOKS / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """What a cell shows, as text."""
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


@pytest.fixture
def as_a_user(tmp_path, monkeypatch):
    """A folder with the cookbooks' data, and the environment of somebody who has installed this."""
    shutil.copytree(COOKBOOKS / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # Jupyter's own widgets are not installed here
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.enable_socket
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in NO_MODEL else pytest.mark.local) for name in NOTEBOOKS]
)
async def test_a_notebook_runs_and_says_what_is_stored(name, as_a_user):
    notebook, before = stored(name), stored(name)
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=str(as_a_user / "kernel.json"))
    client = NotebookClient(
        notebook, km=manager, timeout=SECONDS, coalesce_streams=True, resources={"metadata": {"path": str(as_a_user)}}
    )
    await client.async_execute(cleanup_kc=True)
    for now, then in zip(code_cells(notebook), code_cells(before), strict=True):
        assert bool(printed(now)) == bool(printed(then)), now.source
        assert not [output for output in now.outputs if output.get("name") == "stderr"], now.source
        if TAG in now.metadata.get("tags", ()):
            assert printed(now) == printed(then)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_stored_is_small_and_clean(name):
    notebook = stored(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any("execution" in cell.metadata for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert "stderr" not in {output.get("name") for output in outputs}
    shown = json.dumps(outputs)
    assert len(shown) < MOST_BYTES
    assert not re.search(r"(?<![\w:/])/(?:root|home|work|tmp|usr|Users)/|[A-Z]:\\\\", shown)


@pytest.mark.local
@pytest.mark.enable_socket
def test_an_agent_over_mcp(server, as_a_user, monkeypatch, capfd):
    def reply(body):
        last = body["messages"][-1]
        if last["role"] == "tool":
            return Reply(f"They say: {last['content']}")
        return Reply(calls=(("ask", {"question": "What is the plural of berry?"}),))

    names: dict = {"__name__": "cookbook"}
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.replies = {"gpt-4o-mini": reply}
    text = (COOKBOOKS / "agent_over_mcp.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), 1):
        exec(compile(block, f"agent_over_mcp.md, block {number}", "exec"), names)
    shown = capfd.readouterr().out
    assert "plan: smollm2-135m" in shown
    assert "berries" in names["messages"][-1].text
    assert set(names["came_about"]["path"]) <= {"smollm2-135m", "qwen2.5-0.5b"}
    assert names["came_about"]["cost_usd"] > 0


@pytest.mark.parametrize("name", [*NOTEBOOKS, *sorted(path.name for path in COOKBOOKS.glob("*.md"))])
def test_every_file_that_a_cookbook_links_is_there(name):
    text = (COOKBOOKS / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        text = "\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!http)([^)#\s]+)(?:#[^)]*)?\)", text):
        assert (COOKBOOKS / target).exists(), target


def test_the_index_lists_every_cookbook():
    index = (COOKBOOKS / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([^)/]+\.(?:ipynb|md))\)", index))
    assert listed == {*NOTEBOOKS, "agent_over_mcp.md"}
