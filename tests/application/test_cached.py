"""The name of a shape: the same for the same fields, another for any that are stored otherwise."""

import msgspec
import pytest

from application.cached import read, topic_of
from domain.farm_snapshot import FarmSnapshot
from domain.job.values import Job

FIELDS = [("name", str), ("task", int, 0)]
THING = msgspec.defstruct("Thing", FIELDS, namespace={"__doc__": "A thing."})


def test_a_topic_names_the_state_and_its_shape() -> None:
    name, _, shape = topic_of("job.snapshot", Job).partition("/")
    assert (name, len(shape), int(shape, 16) > 0) == ("job.snapshot", 16, True)
    assert topic_of("job.snapshot", FarmSnapshot) != topic_of("job.snapshot", Job)


def test_the_words_about_a_state_are_no_part_of_its_shape() -> None:
    reworded = msgspec.defstruct("Thing", FIELDS, namespace={"__doc__": "Something, said otherwise."})
    assert topic_of("thing", reworded) == topic_of("thing", THING)


def test_a_field_may_be_called_like_the_words_of_a_schema() -> None:
    described = msgspec.defstruct("Thing", [*FIELDS, ("description", str, "")], namespace={"__doc__": "A thing."})
    assert topic_of("thing", described) != topic_of("thing", THING)


@pytest.mark.parametrize(
    "fields",
    [
        [("name", str)],
        [("label", str), ("task", int, 0)],
        [("name", bytes), ("task", int, 0)],
        [("name", str), ("task", int, 1)],
        [("name", str), ("task", int)],
        [("name", str), ("task", int, 0), ("of", int | None, None)],
    ],
)
def test_another_field_type_or_default_is_another_shape(fields: list[tuple[str, object]]) -> None:
    assert topic_of("thing", msgspec.defstruct("Thing", fields)) != topic_of("thing", THING)


def test_the_shape_of_what_is_inside_counts() -> None:
    inner = [msgspec.defstruct("Inner", [(name, int)]) for name in ("a", "b")]
    outer = [msgspec.defstruct("Outer", [("inner", kind)]) for kind in inner]
    assert topic_of("outer", outer[0]) != topic_of("outer", outer[1])


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x81\xa4name\xa2\xff\xff", b"\x91" * 100_000])
def test_what_cannot_be_read_is_no_state(data: bytes) -> None:
    assert read(data, THING) is None


def test_what_was_written_is_read() -> None:
    thing = THING("a", 3)
    assert read(msgspec.msgpack.encode(thing), THING) == thing
