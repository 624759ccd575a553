"""How things look in a terminal: tables that fit it, colours only where somebody sees them, times as people say them.

Text that came from people or programs is shown without control characters; nothing of it is taken for markup.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from adapters.cli.text import plain
from projections.words import duration_text

UNBOUNDED = 10_000
"""Columns where there is no terminal: nothing is cut for a file or a pipe."""
GAP = 2
NAME_CHARS = 60
"""Longer names are cut in tables."""
STYLES = {
    "running": "cyan", "completed": "green", "succeeded": "green", "online": "green", "satisfied": "green",
    "failed": "red", "lost": "red", "error": "red", "critical": "red", "offline": "red", "suspended": "red",
    "paused": "yellow", "held": "yellow", "warning": "yellow", "draining": "yellow", "suspected": "yellow",
    "cancelled": "magenta", "requeued": "magenta", "bypassed": "magenta", "pending": "dim", "debug": "dim",
    "asleep": "blue", "stopping": "yellow", "starting": "yellow",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    drop: int = 0
    """Columns with the highest number are left out first when the terminal is narrow; 0 stays."""
    flexible: bool = False
    """Whether its text may be cut to fit."""
    least: int = 12
    """How narrow a flexible column may become."""
    wraps: bool = False
    """Whether what does not fit goes on in the next line rather than being left out."""


class Cell(NamedTuple):
    """Text with a style."""

    text: str
    style: str = ""


@cache
def console(stderr: bool = False, markup: bool = False) -> Console:
    """Where things are printed: as wide as the terminal, without bound elsewhere."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBOUNDED
    return Console(stderr=stderr, width=width, highlight=False, markup=markup, emoji=False)


def put(shown: RenderableType) -> None:
    """Prints a table or text; in files and pipes without blanks at the ends of lines."""
    screen = console()
    if screen.is_terminal:
        screen.print(shown)
        return
    with screen.capture() as captured:
        screen.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip())


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], width: int | None = None) -> Table:
    """A table of the columns that there is room for; columns without any text are left out."""
    cells = [[_clean(cell) for cell in row] for row in rows]
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    widths = _widths(columns, cells, width or console().width)
    for at, room in widths.items():
        column = columns[at]
        side: Literal["left", "right"] = "right" if column.right else "left"
        made.add_column(column.title, justify=side, no_wrap=not column.wraps, overflow="ellipsis", width=room)
    for row in cells:
        made.add_row(*(Text(row[at].text, style=row[at].style) for at in widths))
    return made


def _clean(cell: str | Cell) -> Cell:
    return Cell(plain(cell.text), cell.style) if isinstance(cell, Cell) else Cell(plain(cell))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> dict[int, int]:
    """How wide each column is that is shown: fixed ones as wide as their text, flexible ones share what is left."""
    texts = [max([cell_len(row[at].text) for row in rows], default=0) for at in range(len(columns))]
    full = {
        at: max(texts[at], cell_len(column.title)) for at, column in enumerate(columns) if texts[at] or not column.drop
    }
    widths = {at: min(wide, columns[at].least) if columns[at].flexible else wide for at, wide in full.items()}
    while sum(widths.values()) + GAP * len(widths) > width and any(columns[at].drop for at in widths):
        del widths[max(widths, key=lambda at: columns[at].drop)]
    left = width - sum(widths.values()) - GAP * len(widths)
    for at, least in widths.items():
        widths[at] = least + max(0, min(left, full[at] - least))
        left -= widths[at] - least
    return widths


def fields(pairs: Sequence[tuple[str, str | Cell]]) -> Table:
    """Names and values below each other; empty values are left out."""
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        cell = value if isinstance(value, Cell) else Cell(value)
        if cell.text:
            made.add_row(Text(name, style="bold"), Text(plain(cell.text), style=cell.style))
    return made


def heading(text: str) -> Text:
    """What stands above a part of an answer."""
    return Text(f"\n{plain(text)}", style="bold")


def short(name: str) -> str:
    """A name as a table has room for it; all of it is in `show` and `--json`."""
    return name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"


def styled(word: str) -> Cell:
    """A status word in its colour."""
    return Cell(word, STYLES.get(word, ""))


def ago(at_ms: int | None, now_ms: int) -> str:
    """How long ago, or how far ahead: `3 min ago`, `in 2 h`; empty for None."""
    if at_ms is None:
        return ""
    if abs(now_ms - at_ms) < 1_000:
        return "now"
    text = largest_unit(abs(now_ms - at_ms))
    return f"{text} ago" if at_ms < now_ms else f"in {text}"


def largest_unit(ms: int) -> str:
    """A duration roughly: `12 s`, `3 min`, `2 h`, `4 d`."""
    for size_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= size_ms:
            return f"{ms // size_ms} {unit}"
    return f"{ms // 1_000} s"


def clock(at_ms: int | None) -> str:
    """A local time: `2026-03-01 18:00:05`; empty for None."""
    return "" if at_ms is None else local(at_ms).strftime("%Y-%m-%d %H:%M:%S")


def moment(at_ms: int | None, now_ms: int) -> str:
    """A local time with its distance: `2026-03-01 18:00:05 (3 min ago)`; empty for None."""
    return "" if at_ms is None else f"{clock(at_ms)} ({ago(at_ms, now_ms)})"


def local(at_ms: int) -> datetime:
    """The time in this machine's zone."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone()


def span(from_ms: int | None, to_ms: int | None, now_ms: int) -> str:
    """How long something took, or has taken by now; empty if it has not begun."""
    return "" if from_ms is None else duration_text(max(0, (to_ms or now_ms) - from_ms))


def bar(percent: int, width: int = 10) -> str:
    """A progress bar in text: `██████░░░░  60 %`."""
    full = percent * width // 100
    return f"{'█' * full}{'░' * (width - full)} {percent:3d} %"
