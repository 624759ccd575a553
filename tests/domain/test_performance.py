"""What is learned from ended attempts: whole numbers, bounded memory, the same after a snapshot."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.indices.performance import FADES_AT, Performance, PerformanceState, kind_of, node_class
from tests.builders import resources, spec
from tests.strategies import amounts, node_attributes

runs = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from("xyz"), st.sampled_from(("big", "small")), st.integers(0, 10**9)),
    max_size=120,
)
"""(client, kind, class of node, run_ms) in the order of their ends."""


def learned(*run_ms: int, most: int = 100) -> Performance:
    """What so many runs of one client and kind on one class of node teach."""
    performance = Performance(most=most)
    for each in run_ms:
        performance.record("show", "comp", "big", each)
    return performance


def test_nothing_is_known_at_first() -> None:
    performance = Performance()
    assert performance.last_two("show", "comp") == ()
    assert performance.predicted_ms("show", "comp") is None
    assert performance.error_ms("show", "comp") is None
    assert performance.mean_ms("big", "comp") is None
    assert performance.count("big", "comp") == 0
    assert performance.state() == PerformanceState()


def test_the_last_two_runs_predict_the_next() -> None:
    assert learned(100).predicted_ms("show", "comp") == 100
    assert learned(900, 100, 301).last_two("show", "comp") == (301, 100)
    assert learned(900, 100, 301).predicted_ms("show", "comp") == 200  # (301 + 100) / 2 = 200.5, rounded down


def test_the_error_is_the_mean_distance_between_runs_and_what_was_predicted() -> None:
    assert learned(100).error_ms("show", "comp") is None  # nothing had been predicted
    assert learned(100, 160).error_ms("show", "comp") == 60  # predicted 100
    # then predicted (160 + 100) / 2 = 130, missed by 30; mean of 60 and 30
    assert learned(100, 160, 100).error_ms("show", "comp") == 45


def test_clients_kinds_and_classes_of_nodes_are_kept_apart() -> None:
    performance = Performance()
    performance.record("a", "comp", "big", 10)
    performance.record("b", "comp", "big", 30)
    performance.record("a", "render", "small", 50)
    assert performance.last_two("a", "comp") == (10,)
    assert performance.last_two("b", "comp") == (30,)
    assert performance.mean_ms("big", "comp") == 20  # of both clients
    assert performance.mean_ms("small", "comp") is None
    assert performance.mean_ms("small", "render") == 50


def test_a_mean_counts_what_is_long_ago_less_and_less() -> None:
    performance = learned(*[1_000] * (FADES_AT - 1))
    assert performance.count("big", "comp") == 63
    performance.record("show", "comp", "big", 1_000)
    assert performance.count("big", "comp") == 32  # 64, halved
    assert performance.mean_ms("big", "comp") == 1_000
    for _ in range(8):
        performance.record("show", "comp", "big", 500)
    # (32 × 1000 + 8 × 500) / 40; without fading it would be (64 × 1000 + 8 × 500) / 72 = 944
    assert performance.mean_ms("big", "comp") == 900


def test_a_run_that_ended_before_it_started_took_no_time() -> None:
    assert learned(-5).last_two("show", "comp") == (0,)


def test_what_was_recorded_longest_ago_is_forgotten_first() -> None:
    performance = Performance(most=2)
    for kind in ("old", "kept", "old", "new"):
        performance.record("show", kind, "big", 7)
    assert performance.last_two("show", "kept") == ()  # `old` was recorded again after it
    assert performance.last_two("show", "old") == (7, 7)
    assert performance.mean_ms("big", "kept") is None
    assert [each.kind for each in performance.state().recent] == ["old", "new"]


def test_asking_changes_nothing() -> None:
    performance = Performance(most=2)
    performance.record("show", "first", "big", 7)
    performance.record("show", "second", "big", 7)
    before = performance.state()
    performance.predicted_ms("show", "first")
    performance.mean_ms("big", "first")
    assert performance.state() == before


@given(runs, st.integers(0, 120))
def test_a_snapshot_in_the_middle_makes_no_difference(history: list[tuple[str, str, str, int]], cut: int) -> None:
    live = Performance(most=3)
    for run in history[:cut]:
        live.record(*run)
    stored = msgspec.json.decode(msgspec.json.encode(live.state()), type=PerformanceState)
    restored = Performance(stored, most=3)
    for run in history[cut:]:
        live.record(*run)
        restored.record(*run)
    assert restored.state() == live.state()


@given(runs)
def test_memory_is_bounded_and_means_lie_among_the_runs(history: list[tuple[str, str, str, int]]) -> None:
    performance = Performance(most=4)
    for run in history:
        performance.record(*run)
    state = performance.state()
    assert max(len(state.recent), len(state.means)) <= 4
    for mean in state.means:
        of_it = [ms for _, kind, where, ms in history if (kind, where) == (mean.kind, mean.node_class)]
        # halving a sum rounds down, by less than one millisecond per run that is left
        assert min(of_it) - 1 <= (performance.mean_ms(mean.node_class, mean.kind) or 0) <= max(of_it)
        assert 1 <= mean.count < FADES_AT


def test_the_kind_of_a_job_is_what_it_says_else_its_name() -> None:
    assert kind_of(spec(name="shot-4", kind="comp")) == "comp"
    assert kind_of(spec(name="shot-4")) == "shot-4"


def test_the_class_of_a_node_is_what_it_says_else_what_it_is_made_of() -> None:
    capacity = resources(16, 65_536, 2)
    assert node_class({"class": ("blade",), "os": ("linux",)}, capacity) == "blade"
    assert node_class({"class": ("b", "a")}, capacity) == "a|b"
    assert node_class({"os": ("linux",), "gpu": ("l40", "a40")}, capacity) == (
        "millicores=16000 memory_mib=65536 gpus=2 gpu=a40|l40 os=linux"
    )
    assert node_class({}, resources()) == ""


@given(amounts, node_attributes)
def test_the_class_of_a_node_does_not_depend_on_the_order_of_its_attributes(
    capacity: object, attributes: dict[str, tuple[str, ...]]
) -> None:
    turned = {name: values[::-1] for name, values in reversed(attributes.items())}
    assert node_class(turned, capacity) == node_class(attributes, capacity)


@pytest.mark.parametrize("where", ["class", "rack"])
def test_long_classes_are_cut_and_stay_apart(where: str) -> None:
    first, second = (node_class({where: ("x" * 200 + end,)}, resources(1)) for end in "12")
    assert first != second
    assert len(first) == len(second) == 120
