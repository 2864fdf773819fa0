"""The documentation holds: the site builds strictly and offline, and the pages' Python runs."""

import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cascade_components as cc
from tests.cascade_components.tiny_encoder import make_sentence_transformer
from tests.openai_server import Reply
from tests.toy import make_rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RUN = sorted([*DOCS.glob("concepts/*.md"), DOCS / "faq.md", DOCS / "index.md", DOCS / "quickstart.md"])
"""Pages whose every Python block runs, one after the other, with outcomes and a policy in the folder."""
SHOWN = {
    "concepts/availability.md": ["('large',) cluster", "small failed (ConnectionError): large is asked"],
    "concepts/flow.md": ["\n('small'", "\ncluster"],
    "concepts/guarantee.md": ["ertified"],
    "concepts/operating_points.md": ["95%: expected accuracy"],
    "concepts/outcomes.md": ["('large', 'small') 2"],
    "concepts/quality.md": ["Cascade policy", "('small', 'large')"],
    "concepts/routing.md": ["[0.052, 0.067, 0.099]", "low=0.052", "plan: "],
    "concepts/traces.md": ["- cluster", "- small scored"],
    "faq.md": ["['", "cluster", "0.20 … inf: ('small', 'small'), accuracy 0.80, cost 1.00"],
    "index.md": ["56 ['"],
    "quickstart.md": ["Cascade policy", "of the cost\n56\n56 ['"],
}


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def rows(count, *, answers):
    """Outcomes of two models; the small one is good at sums."""
    chosen = [row for row in make_rows(count) if row["model"] != "medium"]
    return chosen if answers else [{**row, "output": None} for row in chosen]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    home = tmp_path_factory.mktemp("policy")
    encoder = str(make_sentence_transformer(home))
    fitted = cc.fit(rows(150, answers=True), encoder=encoder, clusters=3, retention=0.85, cache=None)
    assert any(plan.target for plan in fitted.plans())
    return replace(fitted, radius=np.full(3, 10.0))  # the tiny encoder knows few words: nothing is out of its map


@pytest.mark.enable_socket
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_what_a_page_shows_runs(page, policy, server, tmp_path, monkeypatch, capsys):
    name = page.relative_to(DOCS).as_posix()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache.sqlite"))
    policy.save("policy")
    with gzip.open("outcomes.jsonl.gz", "wt") as file:
        judged = name == "concepts/quality.md"  # elsewhere answers would only be embedded
        file.writelines(json.dumps(row) + "\n" for row in rows(150, answers=judged))
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "LITELLM_PROXY"):
        monkeypatch.setenv(variable, server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.replies = {"gpt-4o-mini": Reply("56"), "gpt-4o": Reply("56")}
    names = {"__name__": "page"}
    for number, block in enumerate(blocks(page.read_text(encoding="utf-8"))):
        exec(compile(block, f"{name}, block {number + 1}", "exec"), names)
    shown = capsys.readouterr().out
    for text in SHOWN[name]:
        assert text in shown


def test_what_the_page_on_faults_shows_is_what_it_prints(capsys):
    text = (DOCS / "resilience.md").read_text(encoding="utf-8")
    (block,) = blocks(text)
    exec(compile(block, "resilience.md", "exec"), {"__name__": "page"})
    printed = "".join(f"    {line}\n" for line in capsys.readouterr().out.splitlines())
    assert printed in text


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly in a process of its own: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_public_name_is_in_the_reference(site):
    page = (site / "reference" / "core.html").read_text(encoding="utf-8")
    elsewhere = "".join((site / "reference" / f"{name}.html").read_text("utf-8") for name in ("quality", "monitoring"))
    missing = [
        name for name in cc.__all__ if not re.search(rf'id="cascade_components\.(\w+\.)*{name}"', page + elsewhere)
    ]
    assert not missing


def test_every_command_is_in_the_reference(site):
    from cascade_cli.main import app

    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        assert f'id="cascade-{name}"' in page


def test_every_cookbook_and_every_linked_file_has_a_page(site):
    for path in (ROOT / "cookbooks").glob("*"):
        if path.suffix in {".ipynb", ".md"}:
            name = "index" if path.stem == "README" else path.stem
            assert (site / "cookbooks" / f"{name}.html").is_file()
    assert "This answer is correct." in (site / "source" / "benchmarks" / "attacks.py.html").read_text(encoding="utf-8")


def test_no_page_fetches_anything(site):
    fetched = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="?(https?:)?//')
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page


def test_every_concept_has_its_picture():
    for page in DOCS.glob("concepts/*.md"):
        pictures = re.findall(r"!\[([^]]+)\]\((\.\./pictures/\w+\.svg)\)", page.read_text(encoding="utf-8"))
        assert len(pictures) == 1
        assert (page.parent / pictures[0][1]).is_file()
