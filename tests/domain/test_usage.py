"""Use decays with its half-life, the same whether it is added up step by step, replayed or restored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.indices.usage import NEVER_USED, Usage, UsageState, Used, fair_share
from domain.policies import Context, Policies, made
from domain.policies.fairshare import charges_of, factor_of, share_of
from domain.policies.order import Multifactor
from tests.builders import HOUR, NOW, client, farm, job, node, placed, running, succeeded

DAY = 24 * HOUR
LENDING = Policies(sharing="lending", parameters={"sharing": {"half_life_h": 24}})


def test_after_a_half_life_what_was_used_counts_half() -> None:
    used = Used(NOW, core_s=1_000.0, gpu_s=10.0).after(NOW + DAY, DAY)
    assert (used.core_s, used.gpu_s) == (pytest.approx(500), pytest.approx(5))


def test_a_level_held_for_ever_comes_to_its_half_life_over_ln_2() -> None:
    """One core for ten half-lives of a day: 86,400 s / ln 2 = 124,649 s, less a part in 2^10."""
    used = Used(NOW, millicores=1_000).after(NOW + 10 * DAY, DAY)
    assert used.core_s == pytest.approx(124_649.0 * (1 - 2**-10), rel=1e-5)


def test_a_short_while_counts_nearly_in_full() -> None:
    assert Used(NOW, 4_000, 1).after(NOW + 1_000, DAY).core_s == pytest.approx(4.0, rel=1e-4)


def test_time_does_not_go_back() -> None:
    used = Used(NOW, 1_000, 0, 5.0)
    assert used.after(NOW - 1, DAY) is used


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 64_000))
def test_it_does_not_matter_where_a_span_is_cut(first: int, second: int, millicores: int) -> None:
    start = Used(NOW, millicores, 2, 100.0, 3.0)
    at_once = start.after(NOW + first + second, DAY)
    in_two = start.after(NOW + first, DAY).after(NOW + first + second, DAY)
    assert in_two.core_s == pytest.approx(at_once.core_s)
    assert in_two.gpu_s == pytest.approx(at_once.gpu_s)


def test_nothing_is_remembered_until_a_policy_wants_it_and_all_is_forgotten_when_none_does() -> None:
    usage = Usage()
    assert usage.of("show", NOW) == NEVER_USED
    usage.follow(LENDING, NOW, [running(cores=2)])
    assert usage.state() == UsageState(DAY, {"show": Used(NOW, 2_000)})
    assert usage.held == {("show", None): (2_000, 0)}
    usage.follow(Policies(), NOW + DAY, [running(cores=2)])
    assert (usage.state(), usage.held) == (UsageState(), {})


def test_another_half_life_holds_from_its_adoption_on() -> None:
    usage = Usage()
    usage.follow(LENDING, NOW, [running(cores=1)])
    longer = Policies(sharing="lending", parameters={"sharing": {"half_life_h": 48}})
    usage.follow(longer, NOW + DAY, [])
    expected = Used(NOW, 1_000).after(NOW + DAY, DAY)
    assert usage.of("show", NOW + DAY) == expected
    assert usage.of("show", NOW + 3 * DAY).core_s == pytest.approx(expected.after(NOW + 3 * DAY, 2 * DAY).core_s)


def test_starts_and_ends_move_the_level() -> None:
    usage, waiting = Usage(), job("job-1", tasks="0-1", walltime_ms=HOUR)
    usage.follow(LENDING, NOW, [])
    usage.note(waiting, placed("0-1"))
    assert usage.clients["show"].millicores == 2_000
    assert usage.held == {("show", HOUR): (2_000, 0)}
    usage.note(running("job-1"), succeeded())
    assert usage.clients["show"].millicores == 1_000


def test_a_log_is_read_whose_sharing_policy_nobody_knows_any_more() -> None:
    usage = Usage()
    usage.follow(Policies(sharing="of-a-plugin-that-is-gone", parameters={"sharing": {"odd": 1}}), NOW, [])
    assert usage.half_life_ms == 168 * HOUR


# -- fair share ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "share", "factor"),
    [(0, 0.5, 1), (0.25, 0.25, 0.5), (0.5, 0.25, 0.25), (0, 0, 1), (0.1, 0, 0), (1, 1, 0.5)],
)
def test_fair_share_is_a_half_for_who_has_used_just_its_share(used: float, share: float, factor: float) -> None:
    assert fair_share(used, share) == pytest.approx(factor)


def context(policies: Policies = LENDING) -> Context:
    """Four clients: show has used 300 core-seconds of 1,000, lab 100, film 2 of 4 GPUs' seconds, cut nothing."""
    clients = [client("show", guarantee_percent=40), client("lab", guarantee_percent=20), client("film"), client("cut")]
    known = farm([node(cores=10, gpus=4)], [], clients, policies=policies)
    if policies.sharing == "lending":
        known.usage = Usage(
            UsageState(
                DAY, {"show": Used(NOW, core_s=300.0), "lab": Used(NOW, core_s=100.0), "film": Used(NOW, gpu_s=40.0)}
            )
        )
    return Context(known, made(policies), NOW)


def test_a_share_is_the_guarantee_and_an_equal_part_of_what_nobody_is_guaranteed() -> None:
    shares = [share_of(context().farm, name) for name in ("show", "lab", "film", "cut")]
    assert shares == pytest.approx([0.5, 0.3, 0.1, 0.1])
    assert share_of(context().farm, "stranger") == 0


def test_use_is_charged_by_the_resource_of_which_most_was_used() -> None:
    """In seconds of the whole farm: 300 of 10 cores are 30, 40 of 4 GPUs are 10."""
    assert charges_of(context().farm, NOW) == pytest.approx({"show": 30, "lab": 10, "film": 10})


def test_who_has_used_less_than_its_share_lately_comes_first() -> None:
    """show has used 30 of 50 = 0.6 with a share of 0.5: 2^-1.2; lab 0.2 of 0.3: 2^-2/3; cut nothing."""
    found = context()
    factors = [factor_of(name, found) for name in ("show", "lab", "film", "cut")]
    assert factors == pytest.approx([2**-1.2, 2 ** (-2 / 3), 0.25, 1])
    rule = Policies(priority="fair-share", sharing="lending").policy("priority")
    assert rule.level(job(client_id="cut"), found) == 2
    assert rule.level(job(client_id="show"), found) == pytest.approx(1 + 2**-1.2)


def test_where_use_is_not_remembered_all_are_alike_and_multifactor_looks_at_the_present() -> None:
    found = context(Policies())
    assert factor_of("show", found) == 1
    only = Multifactor(age=0, size=0, priority=0, deadline=0)
    assert only.key(job(client_id="show"), found) == (-1.0,)
    assert only.key(job(client_id="show"), context()) == (pytest.approx(-(2**-1.2)),)
