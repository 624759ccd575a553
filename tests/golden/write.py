"""Adds to the golden files what they lack: `python -m tests.golden.write`.

Files of chapters that exist are never touched, and the frozen schema only grows: a change that would break it is
refused, with the remedy. So whatever a release has stored stays under test for good.
"""

import sys
from pathlib import Path

import msgspec

from adapters.store.mapper import decode, encode
from application.ports import Log
from tests.golden import schema
from tests.golden.lines import FOLDER, Line, fold
from tests.golden.story import CHAPTERS


def lines_of(log: Log) -> list[Line]:
    """A log as golden lines."""
    recorded = log.read(0, 1_000_000)
    rows = [encode(each.event, each.meta) for each in recorded]
    states = fold((each.stream, decode(*row)[0]) for each, row in zip(recorded, rows, strict=True))
    return [
        Line(
            each.position, each.stream, each.version, topic, msgspec.Raw(state), msgspec.Raw(msgspec.json.encode(after))
        )
        for each, (topic, state), after in zip(recorded, rows, states, strict=True)
    ]


def write_chapters(folder: Path = FOLDER) -> list[Path]:
    """Writes the chapters that have no file yet; the files made."""
    made = []
    for name, play in CHAPTERS.items():
        file = folder / f"{name}.jsonl"
        if not file.exists():
            file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines_of(play().log)))
            made.append(file)
    return made


def grow_schema(file: Path = schema.FILE) -> bool:
    """Writes new topics and fields down; False if there are none. SystemExit if something frozen has changed."""
    now = schema.present()
    before = msgspec.json.decode(file.read_bytes()) if file.exists() else {"meta": now["meta"], "events": {}}
    problems = schema.broken(before, now)
    if problems:
        remedy = "give the event a new topic, and the old topic an entry in adapters/store/upcasts.py"
        raise SystemExit("\n".join(["stored events would not be read as they were meant:", *problems, remedy]))
    gone = {topic: shape for topic, shape in before["events"].items() if topic not in now["events"]}
    grown = {"meta": now["meta"], "events": dict(sorted((gone | now["events"]).items()))}
    text = msgspec.json.format(msgspec.json.encode(grown), indent=1) + b"\n"
    if file.exists() and file.read_bytes() == text:
        return False
    file.write_bytes(text)
    return True


if __name__ == "__main__":
    if grow_schema():
        sys.stdout.write(f"{schema.FILE.name} has grown\n")
    for written in write_chapters():
        sys.stdout.write(f"{written.name} is new\n")
