"""Policies as files: what is written is what is read, and every mistake is named with its place."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.policies import dump_policies, load_policies, named
from domain.errors import BadInput
from domain.policies import FAMILIES, PER_CLIENT, ClientPolicies, Policies

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def example(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def load(folder: Path, text: str, base: Policies | None = None) -> Policies:
    return load_policies(example(folder / "policies.toml", text), base)


def test_a_file_says_what_differs_from_the_base(tmp_path: Path) -> None:
    base = Policies(order="fifo", backfill="easy")
    found = load(tmp_path, 'placement = "best-fit"', base)
    assert found == base
    assert load(tmp_path, "", base) == base
    assert load(tmp_path, "") == Policies()


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml = load(
        tmp_path, 'order = "fifo"\nbackfill = "depth"\nparameters.backfill.reservations = 3\nclients.studio = {}\n'
    )
    text = '{"order": "fifo", "backfill": 3, "clients": {"studio": {}}}'
    assert load_policies(example(tmp_path / "policies.json", text)) == toml
    assert toml == Policies(
        order="fifo",
        backfill="depth",
        parameters={"backfill": {"reservations": 3}},
        clients={"studio": ClientPolicies()},
    )


def test_another_name_drops_the_parameters_of_the_one_before() -> None:
    three = named(Policies(), "backfill", 3)
    assert three == Policies(backfill="depth", parameters={"backfill": {"reservations": 3}})
    assert named(three, "backfill", "depth") == three
    assert named(three, "backfill", "easy") == Policies(backfill="easy")
    assert named(three, "order", "fifo").parameters == three.parameters


def test_the_parameters_of_a_base_do_not_outlive_its_policy(tmp_path: Path) -> None:
    base = named(Policies(), "backfill", 3)
    assert load(tmp_path, 'backfill = "easy"', base) == Policies(backfill="easy")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ordr = 'fifo'", "there is no key 'ordr'; did you mean 'order'?"),
        ("zzz = 1", "there is no key 'zzz'; known are version, order,"),
        ("order = 'fastest'", "there is no order policy 'fastest'; known are"),
        ("order = 7", "order: expected `str`, got `int`"),
        ("[parameters.ordr]\na = 1", "there is no policy family ordr, only order,"),
        ("[parameters.order]\na = 1", "order policy 'priority' has no parameter a"),
        ("filters = ['nosuch']", "there is no filter policy 'nosuch'"),
        ("filters = 'nosuch'", "filters: expected `array`, got `str`"),
        ("[clients.studio]\nordr = 1", "there is no key 'clients.studio.ordr'"),
        ("[clients.studio]\nplacement = 'nosuch'", "client 'studio': there is no placement policy 'nosuch'"),
        ("[clients]\nstudio = 1", "clients"),
        ("clients = 1", "clients: expected `object`, got `int`"),
        ("backfill = 0", "backfill: 0 is no number of reservations"),
        ("backfill = true", "backfill: True is no number of reservations"),
        ("backfill = 1.5", "backfill: expected `str`, got `float`"),
        ("backfill = 2\nparameters.backfill.reservations = 3", "backfill: a number stands for `depth`"),
        ("backfill = 'depth'\nparameters.backfill.reservations = 0", "backfill policy 'depth': Expected `int` >= 1"),
        ("order = ", "not TOML: Invalid value"),
    ],
)
def test_every_mistake_is_named_with_the_file_and_the_key(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text)
    assert f"{tmp_path}/policies.toml: {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("policies.yaml", b"order: fifo", "its name must end in .toml or .json"),
        ("policies.json", b"[1]", "not a table of keys and values"),
        ("policies.json", b"{", "not JSON:"),
        ("policies.toml", b"\xff\xfe", "not TOML:"),
        ("policies.json", b"[" * 100_000, "not JSON:"),
        ("policies.toml", b"#" * (1 << 24) + b"#", "larger than"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load_policies(path)
    assert f"{path}: {problem}" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"policies\.toml: cannot be read \(No such file"):
        load_policies(tmp_path / "policies.toml")
    with pytest.raises(BadInput, match=r"policies\.toml: cannot be written \(No such file"):
        dump_policies(Policies(), tmp_path / "nosuch" / "policies.toml")


# -- round trip --------------------------------------------------------------------------------------------------------


@st.composite
def answers(draw: st.DrawFn, family: str) -> tuple[str, dict[str, Any]]:
    """A policy that can be made without parameters, with the parameters it then has, or without any said."""
    name = draw(st.sampled_from(sorted(FAMILIES[family])))
    made = FAMILIES[family][name]()
    said = {field: getattr(made, field) for field in getattr(made, "__struct_fields__", ())}
    plain = {field: value for field, value in said.items() if isinstance(value, int | float | str)}
    return name, draw(st.fixed_dictionaries({}, optional={key: st.just(value) for key, value in plain.items()}))


@st.composite
def client_sets(draw: st.DrawFn) -> ClientPolicies:
    """What one client may have of its own."""
    chosen = draw(st.sets(st.sampled_from(PER_CLIENT)))
    own = {family: draw(answers(family)) for family in sorted(chosen)}
    parameters = {family: said for family, (_, said) in own.items() if said}
    return ClientPolicies(**{family: name for family, (name, _) in own.items()}, parameters=parameters)


@st.composite
def policy_sets(draw: st.DrawFn) -> Policies:
    """Any set that passes its check."""
    families = ("order", "priority", "estimate", "placement", "backfill")
    own = {family: draw(answers(family)) for family in families}
    parameters = {family: said for family, (_, said) in own.items() if said}
    filters = tuple(sorted(draw(st.sets(st.sampled_from(sorted(FAMILIES["filter"])))))) if FAMILIES["filter"] else ()
    return Policies(
        version=draw(st.integers(1, 1_000)),
        **{family: name for family, (name, _) in own.items()},
        parameters=parameters,
        filters=filters,
        clients=draw(st.dictionaries(TEXT, client_sets(), max_size=2)),
    )


@given(policies=policy_sets(), base=policy_sets(), suffix=st.sampled_from((".toml", ".json")))
def test_what_was_written_is_what_is_read_whatever_the_base(policies: Policies, base: Policies, suffix: str) -> None:
    policies.check()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"policies{suffix}")
        dump_policies(policies, path)
        assert load_policies(path, base) == policies
        again = path.read_bytes()
        dump_policies(load_policies(path), path)
        assert path.read_bytes() == again
