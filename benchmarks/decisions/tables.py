"""Figures → tables, for the terminal and as Markdown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metrics import with_interval
from rich.table import Table

from cascade_components.arrays import Floats


@dataclass(frozen=True)
class Sheet:
    """A titled table of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    detail: bool = False
    """Left out of documents."""

    def rich(self) -> Table:
        """For the terminal."""
        shown = Table(title=self.title, caption=self.note or None)
        for number, column in enumerate(self.columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """For a document."""
        lines = [self.columns, ("---", *("---:",) * (len(self.columns) - 1)), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", table, self.note) if part)


def sheet(
    title: str,
    figures: Mapping[str, Mapping[str, Floats]],
    columns: Mapping[str, str],
    *,
    first: str = "",
    shown: Callable[[float], str] | None = None,
    note: str = "",
    detail: bool = False,
) -> Sheet:
    """A table of figures with their intervals.

    Args:
        title: Its title.
        figures: Row → figure → its value on the data and on the draws.
        columns: Figure → heading.
        first: Heading of the rows' names.
        shown: Number → text; None: two to three decimals.
        note: What stands below.
        detail: Leave it out of documents.
    """
    write = shown or number
    rows = []
    for name, row in figures.items():
        cells = [interval(row[figure], write) if figure in row else "" for figure in columns]
        if any(cells):
            rows.append((name, *cells))
    return Sheet(title, (first, *columns.values()), tuple(rows), note, detail)


def number(value: float) -> str:
    """Three decimals, without the zero before the point; none from ten on.

    >>> number(0.7071), number(1.25), number(-0.05), number(123.4)
    ('.707', '1.250', '-.050', '123')
    """
    if abs(value) >= 10:
        return f"{value:.0f}"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def interval(values: Floats, write: Callable[[float], str] = number) -> str:
    """A figure and, where it has draws, its 95 % interval."""
    value, low, high = with_interval(values)
    if value != value:
        return "–"
    if low != low:
        return write(value)
    return f"{write(value)} [{write(low)}, {write(high)}]"
