"""Small files as tables: TOML and JSON as the name ends, CSV with a header line; read within bounds, plain or gzip."""

import csv
import gzip
import io
import tomllib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import tomli_w

from domain.errors import BadInput

MAX_FILE_BYTES = 1 << 24
"""Of TOML and JSON, which are read at once."""
MAX_ROWS = 5_000_000
MAX_LINE_CHARS = 65_536
GZIP_MAGIC = b"\x1f\x8b"
MAX_SHOWN = 30

Table = dict[str, Any]


class Row(NamedTuple):
    """One line of a CSV file under its header."""

    line: int
    """Counted from 1; the header is one."""
    cells: Mapping[str, str]
    """Text without blanks around it, by column."""


def read_table(path: Path) -> Any:
    """What a TOML or JSON file holds; BadInput names the file and says why it cannot be read."""
    read = _form(path)[0]
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadInput(problem=f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
        return read(content.decode())
    except OSError as error:
        raise BadInput(problem=f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(problem=f"{path}: not {path.suffix[1:].upper()}: {error}") from error


def write_table(path: Path, table: Table) -> None:
    """Writes a TOML or JSON file; BadInput names the file and says why that cannot be."""
    write = _form(path)[1]
    try:
        path.write_text(write(table), encoding="utf-8")
    except (TypeError, ValueError) as error:
        raise BadInput(problem=f"{path}: cannot be written: {error}") from error
    except OSError as error:
        raise BadInput(problem=f"{path}: cannot be written ({error.strerror})") from error


def read_rows(path: Path, required: Sequence[str], also: Callable[[str], bool] | None = None) -> Iterator[Row]:
    """The rows of a CSV file that has these columns and, unless `also` allows any, no others.

    BadInput names file, line and reason.
    """
    with opened(path) as file:
        lines = csv.reader(_bounded(file, path), strict=True)
        header = [name.strip() for name in _next(lines, path) or ()]
        _check_header(path, header, required, also)
        while cells := _next(lines, path):
            if len(cells) != len(header):
                problem = f"{len(cells)} values under {len(header)} columns"
                raise BadInput(problem=f"{path}, line {lines.line_num}: {problem}")
            yield Row(lines.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})


def header_of(path: Path) -> tuple[str, ...]:
    """The names in the first line of a file, if it is CSV; nothing if it is no text."""
    with opened(path) as file:
        line = file.readline(MAX_LINE_CHARS)
    return tuple(name.strip() for name in line.split(",")) if "," in line else ()


def whole(path: Path, row: Row, column: str, least: int = 0) -> int:
    """A whole number in a row; BadInput names file, line and column."""
    text = row.cells[column]
    try:
        number = int(text) if len(text) <= MAX_SHOWN else None
    except ValueError:
        number = None
    if number is None or not least <= number <= 2**53:
        problem = f"{column} is not a whole number of {least} or more: {text[:MAX_SHOWN]!r}"
        raise BadInput(problem=f"{path}, line {row.line}: {problem}")
    return number


@contextmanager
def opened(path: Path) -> Iterator[io.TextIOBase]:
    """A text file, plain or gzip as its content tells; what cannot be read becomes BadInput."""
    try:
        with path.open("rb") as file:
            compressed = file.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
            stream = gzip.GzipFile(fileobj=file) if compressed else file
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(problem=f"{path}: damaged gzip data") from error
    except OSError as error:
        raise BadInput(problem=f"{path}: cannot be read ({error.strerror})") from error


def _bounded(file: io.TextIOBase, path: Path) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARS or number > MAX_ROWS:
            problem = f"longer than {MAX_LINE_CHARS:,} characters" if number <= MAX_ROWS else "too many lines"
            raise BadInput(problem=f"{path}, line {number}: {problem}")
        yield line


def _next(lines: Any, path: Path) -> list[str] | None:
    """The next line that is not empty; None at the end."""
    try:
        return next((cells for cells in lines if cells), None)
    except csv.Error as error:
        raise BadInput(problem=f"{path}, line {lines.line_num}: {error}") from error


def _check_header(
    path: Path, header: Sequence[str], required: Sequence[str], also: Callable[[str], bool] | None
) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        problem = f"the first line names no column {missing[0]!r}; needed are {', '.join(required)}"
        raise BadInput(problem=f"{path}: {problem}")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise BadInput(problem=f"{path}: the first line names the column {twice!r} twice")
    unknown = [name for name in header if name not in required and not (also is None or also(name))]
    if unknown:
        raise BadInput(problem=f"{path}: there is no column {unknown[0]!r}; needed are {', '.join(required)}")


def _form(path: Path) -> tuple[Callable[[str], Any], Callable[[Table], str]]:
    """How a file is read and written, by the end of its name."""
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise BadInput(problem=f"{path}: its name must end in {' or '.join(_FORMS)}, for what is in it")
    return form


def _to_json(table: Table) -> str:
    return msgspec.json.format(msgspec.json.encode(table), indent=2).decode() + "\n"


_FORMS: Mapping[str, tuple[Callable[[str], Any], Callable[[Table], str]]] = {
    ".toml": (tomllib.loads, tomli_w.dumps),
    ".json": (msgspec.json.decode, _to_json),
}
