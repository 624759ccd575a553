"""What a release has stored is read for good: the same events, the same states, and a farm that goes on from there."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.store.mapper import decode, encode
from adapters.store.sqlite import LOG_FILE, SQLiteLogRecorder, open_log
from adapters.store.upcasts import UPCASTS
from application import farms
from domain.catalog import TOPICS
from domain.dependency import DependencyDeclared
from domain.farm import Farm
from tests.application.desk import Desk
from tests.application.referee import Referee
from tests.contents import contents
from tests.golden import schema
from tests.golden.lines import AGGREGATES, Line, fold, golden_files, read_lines, topics_in
from tests.golden.story import CHAPTERS
from tests.golden.write import grow_schema, lines_of, write_chapters

ADD = "add a chapter to tests/golden/story.py and run `python -m tests.golden.write`"
FILES = [pytest.param(file, id=file.stem) for file in golden_files()]


@pytest.fixture(params=FILES)
def lines(request: pytest.FixtureRequest) -> list[Line]:
    return read_lines(request.param)


# -- stored events ---------------------------------------------------------------------------------------------------


def test_every_topic_stands_in_a_golden_line() -> None:
    missing = TOPICS.keys() - topics_in(golden_files())
    assert missing == set(), ADD


def test_every_chapter_has_its_file() -> None:
    assert {file.stem for file in golden_files()} >= CHAPTERS.keys(), ADD


def test_stored_events_fold_to_the_states_they_folded_to_then(lines: list[Line]) -> None:
    events = [decode(line.topic, bytes(line.state))[0] for line in lines]
    states = fold((line.stream, event) for line, event in zip(lines, events, strict=True))
    for line, event, state in zip(lines, events, states, strict=True):
        aggregate = AGGREGATES.get(type(event))
        kind: Any = None if aggregate is None else aggregate.state
        then = msgspec.json.decode(line.folds_to, type=kind)
        assert state == then, f"{line.stream}@{line.version} ({line.topic})"


def test_nothing_of_a_stored_event_is_lost_when_it_is_read_and_written_again(lines: list[Line]) -> None:
    for line in lines:
        if line.topic not in UPCASTS:
            topic, state = encode(*decode(line.topic, bytes(line.state)))
            assert (topic, json.loads(state)) == (line.topic, json.loads(bytes(line.state)))


def test_a_golden_log_breaks_no_rule(lines: list[Line], tmp_path: Path) -> None:
    with_rows(tmp_path, lines, lambda desk: Referee().watch(desk.recorded()))


def test_a_store_of_that_release_opens_and_goes_on(lines: list[Line], tmp_path: Path) -> None:
    def goes_on(desk: Desk) -> None:
        assert contents(farms.load(desk.log)) == contents(Farm.fold(desk.log.replay(0)))
        newest = {line.stream: line.folds_to for line in lines}
        for job_id, job in desk.app.farm.jobs.items():
            assert job == msgspec.json.decode(newest[job_id], type=type(job))
        desk.submit("job-afterwards")
        desk.cycle()
        desk.check()

    with_rows(tmp_path, lines, goes_on)


def with_rows(folder: Path, lines: list[Line], look: Any) -> None:
    """A store that holds these very rows."""
    log = open_log(folder)
    assert isinstance(log.recorder, SQLiteLogRecorder)
    log.recorder.append_rows([line.row[1:] for line in lines], None, (), ())
    desk = Desk(log=log)
    desk.clock.advance(100 * 86_400_000)
    look(desk)
    log.close()
    assert (folder / LOG_FILE).exists()


def test_streams_of_golden_lines_have_no_gaps(lines: list[Line]) -> None:
    assert [line.position for line in lines] == list(range(1, len(lines) + 1))
    versions: Counter[str] = Counter()
    for line in lines:
        versions[line.stream] += 1
        assert line.version == versions[line.stream]


# -- the frozen shape ------------------------------------------------------------------------------------------------


def test_the_frozen_shape_of_stored_events_still_holds() -> None:
    assert schema.broken(schema.frozen(), schema.present()) == []


def test_every_topic_and_field_is_written_down() -> None:
    assert schema.present() == {
        "meta": schema.frozen()["meta"],
        "events": {topic: shape for topic, shape in schema.frozen()["events"].items() if topic in TOPICS},
    }, ADD


def changed(**fields: Any) -> list[str]:
    """What is wrong when the shape of `job.held` becomes that of a type with these fields."""
    before = schema.present()
    base: dict[str, Any] = {"at_ms": int, "job_id": str, "why": (str, "")} | fields
    made = msgspec.defstruct(
        "JobHeld",
        [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in base.items() if kind is not None],
        tag_field="topic", tag="job.held", kw_only=True,
    )  # fmt: skip
    (shape,), definitions = msgspec.json.schema_components([made], ref_template="{name}")
    after = before | {"events": before["events"] | {"job.held": schema._inlined(shape, definitions)}}
    return schema.broken(before, after)


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({}, []),
        ({"until_ms": (int | None, None)}, []),
        ({"until_ms": int}, ["job.held: the new field until_ms needs a default, or old events cannot be read"]),
        ({"why": None}, ["job.held: the field why is gone"]),
        ({"why": (str, "unknown")}, ["job.held.why.default:  has become unknown"]),
        ({"why": str}, ["job.held.why.default:  has become None", "job.held: the fields without"]),
        ({"job_id": int}, ["job.held.job_id.type: string has become integer"]),
        ({"why": (str | None, "")}, ["job.held.why"]),
    ],
)
def test_an_event_may_only_grow_fields_with_defaults(fields: dict[str, Any], problems: list[str]) -> None:
    found = changed(**fields)
    assert bool(found) == bool(problems), found
    for problem in problems:
        assert any(each.startswith(problem) for each in found), found


def test_a_topic_that_is_gone_needs_an_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = schema.present(), schema.present()
    del after["events"]["job.held"]
    assert schema.broken(before, after) == ["job.held: it is gone, and nothing reads it in today's shape"]
    monkeypatch.setitem(UPCASTS, "job.held", lambda event: event)
    assert schema.broken(before, after) == []


# -- writing ---------------------------------------------------------------------------------------------------------


def test_writing_adds_what_is_missing_and_touches_nothing_else(tmp_path: Path) -> None:
    first = next(iter(CHAPTERS))
    (tmp_path / f"{first}.jsonl").write_text("history\n")
    made = write_chapters(tmp_path)
    assert {file.stem for file in made} == CHAPTERS.keys() - {first}
    assert (tmp_path / f"{first}.jsonl").read_text() == "history\n"
    assert write_chapters(tmp_path) == []
    assert all(read_lines(file) for file in made)


def test_the_schema_grows_once_and_never_shrinks(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert grow_schema(file)
    assert not grow_schema(file)
    known = json.loads(file.read_text())
    known["events"]["job.held"]["properties"]["why"]["default"] = "unknown"
    file.write_text(json.dumps(known))
    with pytest.raises(SystemExit, match="upcasts"):
        grow_schema(file)


def test_a_written_line_is_what_the_store_holds(tmp_path: Path) -> None:
    desk = Desk(log=open_log(tmp_path))
    desk.submit("job-1")
    desk.submit("job-2", after=["job-1"])
    assert isinstance(desk.log, object)
    rows = desk.log.recorder.select_rows(0, 10, None, ())  # type: ignore[attr-defined]
    assert [tuple(line.row) for line in lines_of(desk.log)] == [tuple(row) for row in rows]
    assert any(isinstance(each.event, DependencyDeclared) for each in desk.recorded())
    desk.log.close()
