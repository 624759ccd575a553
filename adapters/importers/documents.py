"""YAML and JSON documents from strangers: read within bounds, and able to say on which line something stands.

A document is refused before it is built when building it could take unbounded time or memory: files of many
megabytes, deep nesting (which ends the interpreter inside the C parser), aliases that multiply ("billion laughs"),
numbers of a million digits, tags that name program objects.
"""

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import msgspec

from domain.errors import BadInput, ExtraMissing

Where: TypeAlias = Sequence[str | int]
"""Keys and item numbers that lead from the top level to a value."""

MAX_BYTES = 4_000_000
MAX_DEPTH = 100
MAX_NODES = 200_000
"""Keys and values of one document, an alias counted as often as it is used."""
MAX_NUMBER_LENGTH = 10_000
MAX_REASON_LENGTH = 300
PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
KINDS = {list: "a list", str: "text", type(None): "empty"}


class Document(msgspec.Struct, frozen=True):
    """A mapping that came from text."""

    name: str
    """What a person calls it: the path of the file, or what the text stands for."""
    text: str
    value: dict[str, Any]

    def mistake(self, reason: str, where: Where = ()) -> str:
        """`line 12, steps[0] -> script: reason`; a place without a line where the text cannot tell."""
        return _mistake(reason, _line_of(self.text, where) if where else None, spell(where))

    def refuse(self, *mistakes: str) -> BadInput:
        """The error that names this document and what is wrong with it."""
        return BadInput(problem=f"{self.name}: {'; '.join(mistakes)}")


def read(source: Path | str, *, name: str = "the template") -> Document:
    """Read a file (`Path`) or take a text (`str`) as a mapping; BadInput names the file, the line and the reason.

    Files ending in `.json` must be JSON; anything else may be YAML or JSON.
    """
    name = str(source) if isinstance(source, Path) else name
    text = _text(name, _bytes(name, source) if isinstance(source, Path) else source.encode(errors="surrogatepass"))
    strict = isinstance(source, Path) and source.suffix.lower() == ".json"
    value = _from_json(name, text, strict) if strict or text.lstrip().startswith("{") else None
    if value is None and not strict:
        value = _from_yaml(name, text)
    if not isinstance(value, dict):
        kind = KINDS.get(type(value), "a single value")
        raise _refusal(name, f"the top level must be a mapping of keys to values, but it is {kind}")
    _check_values(name, value)
    return Document(name, text, value)


def spell(where: Where) -> str:
    """A place as a person reads it: `steps[0] -> script -> actions`."""
    words: list[str] = []
    for part in where:
        if isinstance(part, int) and words:
            words[-1] += f"[{part}]"
        else:
            words.append(str(part))
    return " -> ".join(words)


def _refusal(name: str, reason: str, line: int | None = None) -> BadInput:
    return BadInput(problem=f"{name}: {_mistake(reason, line)}")


def _mistake(reason: str, line: int | None = None, place: str = "") -> str:
    reason = " ".join(reason.split())
    if len(reason) > MAX_REASON_LENGTH:
        reason = reason[:MAX_REASON_LENGTH] + " ..."
    where = ", ".join(([f"line {line}"] if line else []) + ([place] if place else []))
    return f"{where}: {reason}" if where else reason


def _bytes(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(name, (error.strerror or str(error)).lower()) from error


def _text(name: str, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _refusal(name, f"longer than {MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(name, f"byte {content[error.start]:#04x} is not UTF-8 text", line) from error


def _from_json(name: str, text: str, strict: bool) -> object:
    """The value, or None when the text is not JSON but may be something else."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise _refusal(name, f"nested deeper than {MAX_DEPTH} levels") from error
    except json.JSONDecodeError as error:
        if not strict:
            return None
        raise _refusal(name, f"not JSON: {error.msg}", error.lineno) from error
    except ValueError as error:
        if not strict:
            return None
        raise _refusal(name, f"not JSON: {error}") from error


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON value")


def _from_yaml(name: str, text: str) -> object:
    yaml = _yaml()
    try:
        _check_bounds(name, text)
        return yaml.load(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _refusal(name, f"not YAML: {error.problem or error.context}", line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refusal(name, f"not YAML: {error.reason}", line) from error
    except ValueError as error:
        raise _refusal(name, f"a number or date in it cannot be read ({error})") from error


def _check_values(name: str, value: object) -> None:
    """Refuse what other formats of data cannot hold, and what only JSON could still be too large for."""
    waiting = [value]
    for _ in range(MAX_NODES):
        if not waiting:
            return
        each = waiting.pop()
        if isinstance(each, float) and not math.isfinite(each):
            raise _refusal(name, f"a number in it is {each}, not finite")
        if isinstance(each, dict):
            waiting += each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    raise _refusal(name, f"more than {MAX_NODES:,} values")


def _check_bounds(name: str, text: str) -> None:
    """Walk through the parser's events, which takes no memory, and refuse at the first one that goes too far."""
    bounds = _Bounds(name)
    for event in _yaml().parse(text, Loader=_loader()):
        line = event.start_mark.line + 1
        bounds.count(event, line)
        if len(bounds.opened) > MAX_DEPTH:
            raise _refusal(name, f"nested deeper than {MAX_DEPTH} levels", line)
        if bounds.total > MAX_NODES:
            raise _refusal(name, f"more than {MAX_NODES:,} values, an alias counted as often as it is used", line)


class _Bounds:
    """How deep and how large a document is so far."""

    def __init__(self, name: str) -> None:
        self.total = 0
        self.opened: list[tuple[str | None, int]] = []
        """Of each collection that is not complete, its anchor and the total when it began."""
        self._name = name
        self._sizes: dict[str, int] = {}
        self._yaml = _yaml()

    def count(self, event: Any, line: int) -> None:
        """Take one event of the parser into account."""
        if isinstance(event, self._yaml.AliasEvent):
            if event.anchor not in self._sizes:
                raise _refusal(self._name, f"alias *{event.anchor} names nothing that is complete before it", line)
            self.total += self._sizes[event.anchor]
        elif isinstance(event, self._yaml.NodeEvent):
            _check_node(self._name, event, line)
            self.total += 1
            self._open(event)
        elif isinstance(event, self._yaml.CollectionEndEvent):
            anchor, begin = self.opened.pop()
            if anchor:
                self._sizes[anchor] = self.total - begin + 1

    def _open(self, event: Any) -> None:
        if isinstance(event, self._yaml.CollectionStartEvent):
            self.opened.append((event.anchor, self.total))
        elif event.anchor:
            self._sizes[event.anchor] = 1


def _check_node(name: str, event: Any, line: int) -> None:
    if event.tag not in PLAIN_TAGS:
        raise _refusal(name, f"tag {event.tag} is not allowed", line)
    # YAML 1.1 reads 1:59:59 as a number in base 60, and PyYAML takes the square of its length for that.
    text = getattr(event, "value", "")
    if len(text) > MAX_NUMBER_LENGTH and not event.style and text[0] in "+-.0123456789":
        raise _refusal(name, "a number cannot be that long; put text in quotes", line)


def _line_of(text: str, where: Where) -> int | None:
    """The line, counted from 1, on which the last part of a place begins that is there; None when nobody can tell.

    The nodes of the YAML parser know the lines of JSON too, which is nearly always YAML as well.
    """
    yaml = _yaml()
    try:
        _check_bounds("", text)
        node = yaml.compose(text, Loader=_loader())
    except (yaml.YAMLError, BadInput):
        return None
    line: int = node.start_mark.line
    for part in where:
        child = _child(node, part)
        if child is None:
            break
        line, node = child
    return line + 1


def _child(node: Any, part: str | int) -> tuple[int, Any] | None:
    """The line, counted from 0, of one key or item of a node, and its value."""
    if isinstance(part, int):
        items = node.value if node.id == "sequence" else []
        return (items[part].start_mark.line, items[part]) if part < len(items) else None
    pairs = node.value if node.id == "mapping" else []
    return next(((key.start_mark.line, value) for key, value in pairs if key.value == part), None)


def _yaml() -> Any:
    """The YAML library, which comes with an extra."""
    try:
        return importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise ExtraMissing(extra="openjd") from error


def _loader() -> Any:
    """The loader that builds plain values only, in C where there is one."""
    yaml = _yaml()
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
