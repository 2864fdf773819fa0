"""What the documentation site takes from outside `docs/`: the cookbooks, files that pages link to, the command line.

Links between files of the repository work as they are written, on the site as in a checkout: a link out of `docs/`
leads to the cookbook's page, or to a page that shows the file.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

ROOT = Path(__file__).resolve().parents[1]
COOKBOOKS = sorted(
    (path for path in (ROOT / "cookbooks").glob("*") if path.suffix in {".ipynb", ".md"}),
    key=lambda path: (path.name != "README.md", path.name),
)
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)]*)?\))")
HREF = re.compile(r'(href=")([^"#:]+)((?:#[^"]*)?")')
LANGUAGES = {".py": "python", ".md": "markdown", ".toml": "toml", ".txt": "text"}
COMMAND_LINE = "<!-- the command line -->"

log = get_plugin_logger(__name__)


def on_config(config: MkDocsConfig) -> None:
    """List the cookbooks in the navigation."""
    for entry in config.nav or []:
        for section, pages in entry.items():
            if section == "Cookbooks":
                pages.extend(f"cookbooks/{path.name}" for path in COOKBOOKS)


@event_priority(100)  # before mkdocs-jupyter, which takes the notebooks from here
def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the cookbooks, and a page for each file that a page links to outside of `docs/`."""
    for path in COOKBOOKS:
        files.append(File(f"cookbooks/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    linked = {target for file in list(files) if file.src_uri.endswith((".md", ".ipynb")) for target in _linked(file)}
    for target in sorted(linked):
        if _uri(target).startswith("source/"):
            files.append(File.generated(config, _uri(target), content=_shown(target)))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to other files of the repository to their pages."""
    here = _home(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        target = _target(here, match[2])
        if target is None:
            return match[0]
        return match[1] + posixpath.relpath(_uri(target), posixpath.dirname(page.file.src_uri)) + match[3]

    if COMMAND_LINE in markdown:
        markdown = markdown.replace(COMMAND_LINE, _command_line())
    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    """Notebooks come as HTML: lead their links, too, and leave out what they would fetch from elsewhere."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    here = _home(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        target = _target(here, match[2])
        found = None if target is None else files.get_file_from_path(_uri(target))
        if found is None:
            log.warning("%s links to %s, which is no page.", here, match[2])
            return match[0]
        return match[1] + found.url_relative_to(page.file) + match[3]

    return re.sub(r'<script[^>]+src="https?://[^"]*"[^>]*>\s*</script>', "", HREF.sub(led, html))


def _home(src_uri: str) -> str:
    """A page's file in the repository."""
    return src_uri if src_uri.startswith("cookbooks/") else f"docs/{src_uri}"


def _target(here: str, link: str) -> str | None:
    """The file in the repository that a relative link leads to; None where there is none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _uri(path: str) -> str:
    """The page of a file in the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if ROOT / path in COOKBOOKS else f"source/{path}.md"


def _linked(file: File) -> list[str]:
    """Files of the repository that a page links to."""
    found = (_target(_home(file.src_uri), match[2]) for match in LINK.finditer(file.content_string))
    return [target for target in found if target]


def _shown(path: str) -> str:
    """A page that shows a file."""
    language = LANGUAGES.get(Path(path).suffix, "text")
    text = (ROOT / path).read_text(encoding="utf-8").rstrip()
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n````{language}\n{text}\n````\n"


def _command_line() -> str:
    """Every command with its arguments and options, as `--help` tells them."""
    os.environ.setdefault("TERM", "dumb")
    from cascade_cli.main import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="cascade")
    return re.sub(r"^#+ `cascade`\n", "", text, flags=re.MULTILINE)
