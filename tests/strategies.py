"""Random values for property tests: task sets, amounts, requirements, and any message type from its annotations."""

import string
from enum import Enum
from typing import Any

import msgspec.inspect as inspect
from hypothesis import strategies as st

from domain import intervals
from domain.intervals import TaskSet
from domain.resources import AttributeNeed, Requirement, Resources, named_amounts

numbers = st.sets(st.integers(-5, 40), max_size=25)
"""Plain sets of task numbers."""


@st.composite
def task_sets(draw: st.DrawFn) -> TaskSet:
    """Canonical task sets, the empty one included."""
    return intervals.of(draw(numbers))


SMALL = st.integers(0, 4)
KINDS = ("licence", "fpga")

amounts = st.builds(
    Resources,
    millicores=st.integers(0, 8).map(lambda n: n * 500),
    memory_mib=SMALL.map(lambda n: n * 1024),
    gpus=st.integers(0, 2),
    storage_mib=SMALL,
    network_mbps=SMALL,
    named=st.dictionaries(st.sampled_from(KINDS), SMALL).map(named_amounts),
)
"""Amounts of resources, none negative, in canonical form."""

VALUES = ("linux", "macos", "windows")
value_sets = st.lists(st.sampled_from(VALUES), unique=True, max_size=2).map(tuple)
attribute_needs = st.builds(AttributeNeed, name=st.sampled_from(("os", "zone")), any_of=value_sets, all_of=value_sets)
node_attributes = st.dictionaries(st.sampled_from(("os", "zone")), value_sets, max_size=2)

requirements = st.builds(
    Requirement,
    resources=amounts,
    slots=st.integers(1, 3),
    distinct_nodes=st.booleans(),
    attributes=st.lists(attribute_needs, max_size=1).map(tuple),
)


# -- any Struct from its field types -----------------------------------------------------------------------------------

TEXT = st.text(string.ascii_letters + string.digits + '-_./ é√"\\\n', max_size=12)
PLAIN = {
    inspect.IntType: st.integers(-(2**53), 2**53),
    inspect.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.StrType: TEXT,
    inspect.AnyType: st.integers(0, 9) | TEXT,
}


def instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Values of a message type with every field drawn from its annotation, nested Structs and unions included."""
    return _of(inspect.type_info(kind))


def _of(found: inspect.Type) -> st.SearchStrategy[Any]:
    plain = PLAIN.get(type(found))
    return _MADE_OF_OTHERS[type(found)](found) if plain is None else plain


def _struct(found: inspect.StructType) -> st.SearchStrategy[Any]:
    """A field is required by its type, or left at its default about half the time, as in real events."""
    fields = {field.name: _of(field.type) for field in found.fields}
    required = {field.name: fields.pop(field.name) for field in found.fields if field.required}
    return st.fixed_dictionaries(required, optional=fields).map(lambda chosen: found.cls(**chosen))


def _enum(found: inspect.EnumType) -> st.SearchStrategy[Enum]:
    return st.sampled_from(list(found.cls))


def _union(found: inspect.UnionType) -> st.SearchStrategy[Any]:
    return st.one_of([_of(each) for each in found.types])


def _tuple(found: inspect.TupleType) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*map(_of, found.item_types))


def _var_tuple(found: inspect.VarTupleType) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(_of(found.item_type), max_size=2).map(tuple)


def _dict(found: inspect.DictType) -> st.SearchStrategy[dict[Any, Any]]:
    return st.dictionaries(_of(found.key_type), _of(found.value_type), max_size=2)


_MADE_OF_OTHERS: dict[type[inspect.Type], Any] = {
    inspect.StructType: _struct,
    inspect.EnumType: _enum,
    inspect.UnionType: _union,
    inspect.TupleType: _tuple,
    inspect.VarTupleType: _var_tuple,
    inspect.DictType: _dict,
}
