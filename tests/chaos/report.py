"""A run's summary, as tables."""

import numpy as np
from rich.console import Group
from rich.table import Table


def tables(summary):
    """The summary for a terminal."""
    return Group(_totals(summary), _faults(summary), _usage(summary))


def _totals(summary):
    table = _table("Chaos", "", "")
    table.add_row("calls", f"{summary.calls:,}")
    for end in ("answer", "error", "gave up", "lost"):
        table.add_row(_ENDS[end], f"{summary.ends[end]:,}")
    for kind, count in summary.errors.most_common():
        table.add_row(f"  {kind}", f"{count:,}")
    table.add_row("leaked", f"{summary.leaked:,}")
    table.add_row("left behind", f"{len(summary.left):,}")
    table.add_row("requests served", f"{summary.requests:,}")
    table.add_row("duration", f"{summary.seconds:.0f} s")
    for name, mb in zip(("memory in use", "resident memory"), zip(*summary.memory, strict=True), strict=True):
        table.add_row(f"{name}, first wave to last", f"{mb[0]:.0f} MB to {mb[-1]:.0f} MB")
    table.add_row("problems", f"{len(summary.problems):,}")
    return table


_ENDS = {"answer": "answers", "error": "errors", "gave up": "callers that gave up", "lost": "lost"}


def _faults(summary):
    table = _table("What the servers did", "fault", "requests")
    for fault, count in summary.faults.most_common():
        table.add_row(fault, f"{count:,}")
    return table


def _usage(summary):
    table = _table("Tokens of answers that were served whole", "", "share")
    table.add_row("told by the answers' traces", f"{summary.counted / summary.served:.2%}")
    for why, count in summary.uncounted.most_common():
        if count:
            table.add_row(why, f"{count / summary.served:.2%}")
    return table


def lags(found):
    """How late an event loop with nothing but tasks is, by who is asked."""
    table = _table("How late the event loop is, in ms", "asked", "median", "99 %", "most")
    for name, ticks in found.items():
        table.add_row(name, *(f"{value:.1f}" for value in np.percentile(ticks, (50, 99, 100))))
    return table


def _table(title, *columns):
    table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
    for column in table.columns[1:]:
        column.justify = "right"
    return table
