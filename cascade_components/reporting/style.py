"""How figures look, and how one drawing becomes a PNG and an SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1f2329",
    "muted": "#5d6670",
    "grid": "#dfe3e8",
    "paper": "#fefefe",
    # Okabe and Ito's palette, which colour-blind readers tell apart.
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#b0569a",
    "orange": "#e69f00",
    "sky": "#56b4e9",
}
"""Each is a CSS variable of the page, which has other values for the dark."""

SERIES = ("blue", "vermilion", "green", "purple", "orange", "sky")
MARKERS = ("o", "s", "D", "^")
"""Beyond six series the marker tells them apart."""

WIDTH, HEIGHT = 5.2, 3.9
"""Inches of a figure that stands beside another one; on a phone it fills the screen."""

_FONT = "DejaVu Sans"
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a model may be called $x$
    "font.family": "sans-serif",
    "font.sans-serif": [_FONT],
    "font.size": 10.0,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlesize": 10.5,
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
}
_OUT_OF_PLACE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_NAMESPACE = re.compile(r' xmlns(:\w+)?="[^"]*"')
_IDS = re.compile(r'(\bid="|href="#|url\(#)')
_SIZE = re.compile(r'(<svg )[^>]*?(viewBox="[^"]*")[^>]*>')
_COLOUR = re.compile("|".join(COLOURS.values()))
_NAMES = {colour: name for name, colour in COLOURS.items()}


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    name: str
    """Letters, digits and dashes: the PNG's name, and what the ids in the SVG begin with."""
    title: str
    svg: str
    """To stand in an HTML page: no size of its own, no outside names, colours as CSS variables."""
    figure: Figure

    def png(self) -> bytes:
        """The figure as pixels, on a light ground."""
        pixels = io.BytesIO()
        with look():
            self.figure.savefig(pixels, format="png", dpi=200, facecolor=COLOURS["paper"], metadata={"Software": None})
        return pixels.getvalue()


def blank(columns: int = 1, rows: int = 1, *, width: float = WIDTH, height: float = HEIGHT, **options: Any) -> Figure:
    """An empty figure; use it within `look`. Options are those of `Figure.subplots`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.subplots(rows, columns, **options)
    return figure


@contextmanager
def look() -> Iterator[None]:
    """Within it figures look like ours."""
    from matplotlib import rc_context

    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the page has it from the reader's fonts
        yield


def finished(name: str, title: str, figure: Figure) -> Drawing:
    """Draw the figure for the page."""
    from matplotlib import rc_context

    vector = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(vector, format="svg", transparent=True, metadata={"Date": None})
    return Drawing(name, title, _for_page(vector.getvalue(), name), figure)


def despined(axes: Axes) -> None:
    """Take away what is no measure: ticks, spines, grid."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _for_page(svg: str, name: str) -> str:
    bare = _NAMESPACE.sub("", _OUT_OF_PLACE.sub("", svg)).strip()
    bare = _SIZE.sub(r'\1\2 aria-hidden="true">', bare, count=1)
    bare = _IDS.sub(rf"\g<1>{name}-", bare)
    bare = bare.replace(f"'{_FONT}', sans-serif", "var(--font)")
    return _COLOUR.sub(lambda found: f"var(--{_NAMES[found[0]]})", bare)
