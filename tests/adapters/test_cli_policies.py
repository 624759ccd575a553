"""`milepost policy`: sets are shown, adopted, told apart and compared, and every mistake is named."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.edits import differences, edited, flat
from domain.errors import BadInput, PolicyInvalid
from domain.job.values import Priority
from domain.policies import FAMILIES, ClientPolicies, Policies
from domain.tariff import PriceWindow, Tariff
from tests.adapters.cli_runner import Cli
from tests.adapters.test_cli_help import completions

NIGHT = 'price = 0.3\ncurrency = "EUR"\n[[windows]]\nfrom = "22:00"\nuntil = "06:00"\nprice = 0.1\n'


# -- adopting --------------------------------------------------------------------------------------------------------


def test_a_set_is_adopted_key_by_key_shown_and_taken_back(milepost: Cli) -> None:
    said = milepost.json(
        "policy", "adopt", "energy=night-savings", "order=edf", "energy.idle_after_s=600", "--why", "w"
    )
    assert (said["changed"], said["version"]) == (True, 2)
    shown = milepost.json("policy", "show")
    assert (shown["set"]["version"], shown["set"]["actor"], shown["set"]["why"]) == (2, shown["set"]["actor"], "w")
    assert shown["set"]["actor"].startswith("user:")
    energy = next(each for each in shown["families"] if each["family"] == "energy")
    assert (energy["name"], energy["differing"]) == ("night-savings", {"idle_after_s": 600})
    assert energy["parameters"]["max_delay_h"] == 24.0
    assert [each["key"] for each in shown["set"]["changes"]] == ["order", "energy", "energy.idle_after_s"]
    milepost("undo", said["undo"])
    assert milepost.json("policy", "diff", "1")["rows"] == []


def test_what_is_said_twice_changes_nothing(milepost: Cli) -> None:
    milepost("policy", "adopt", "order=edf")
    said = milepost("policy", "adopt", "order=edf")
    assert said.out == "set 2 stays in force: nothing differs\n"
    assert "undo" not in said.err


def test_a_dry_run_shows_what_would_change_and_changes_nothing(milepost: Cli) -> None:
    before = milepost.position()
    said = milepost("policy", "adopt", "backfill=3", "--dry-run")
    assert said.out == "would change:\n  backfill greedy → depth\n  backfill.reservations 3\n"
    assert milepost.position() == before


def test_files_and_keys_go_together_over_the_set_in_force(milepost: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(
        f'order = "edf"\n[clients.studio]\nplacement = "spread"\n[tariff]\n{NIGHT.replace("windows", "tariff.windows")}'
    )
    milepost("policy", "adopt", "energy=balanced")
    milepost("policy", "adopt", str(file), "clients.studio.priority=ageing")
    found = milepost.json("policy", "show")
    assert found["set"]["policies"]["energy"] == "balanced"
    assert [(each["client_id"], each["name"]) for each in found["clients"]] == [
        ("studio", "ageing"),
        ("studio", "spread"),
    ]
    assert found["tariff"]["windows"] == [{"from": "22:00", "until": "06:00", "price": 0.1}]


def test_a_tariff_file_changes_the_tariff_alone(milepost: Cli, tmp_path: Path) -> None:
    file = tmp_path / "tariff.csv"
    file.write_text("from,until,price,currency\n,,0.3,EUR\n22:00,06:00,0.1,\n")
    milepost("policy", "adopt", "order=edf")
    assert milepost.json("policy", "tariff", str(file), "--why", "cheaper")["version"] == 3
    found = milepost.json("policy", "show")
    assert found["set"]["policies"]["order"] == "edf"
    assert found["tariff"]["currency"] == "EUR"
    assert found["next_price_ms"] > found["at_ms"]
    shown = milepost("policy", "show").out
    for text in ("0.3 EUR/kWh", "22:00", "UTC+00:00", "cheaper"):
        assert text in shown


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["ordr=edf"], "'ordr=edf' is no key=value of a set of policies; did you mean 'order'?"),
        (["zzz=1"], "keys begin with order, priority"),
        (["order=fastest"], "there is no order policy 'fastest'; known are"),
        (["order=3"], "order: 3 is no name"),
        (["energy.idle=3"], "energy policy 'performance' has no parameter idle; it has power_cap_watts"),
        (["energy.idle_after_s=soon"], "energy policy 'performance': Expected `int | null`"),
        (["clients.studio=spread"], "write clients.CLIENT.FAMILY=NAME, where families are priority, estimate"),
        (["clients.studio.order=fifo"], "write clients.CLIENT.FAMILY=NAME"),
        (["tariff.windows=1"], "known are tariff.price, tariff.currency, tariff.utc_offset; windows come from a file"),
        (["tariff.price=-1"], "tariff.price: -1 is no price"),
        (["filter.dedicated=team"], "write filter.NAME.PARAMETER=VALUE"),
        (["filter.dedicated.attribute=team"], "filter dedicated has parameters and is not among `filters`"),
        (["nowhere.toml"], "nowhere.toml: cannot be read"),
        (["order.a.b=1"], "write order=NAME or order.PARAMETER=VALUE"),
    ],
)
def test_every_mistake_is_named_and_changes_nothing(milepost: Cli, args: list[str], problem: str) -> None:
    before = milepost.position()
    said = milepost("policy", "adopt", *args, code=2)
    assert problem in said.err
    assert said.err.count("\n") == 1
    assert milepost.position() == before


# -- looking ---------------------------------------------------------------------------------------------------------


def test_history_tells_all_sets_with_who_why_and_what(milepost: Cli) -> None:
    milepost("policy", "adopt", "order=edf", "--why", "the show is late")
    milepost("policy", "adopt", "order=sjf")
    found = milepost.json("policy", "history")
    assert [each["version"] for each in found["rows"]] == [3, 2, 1]
    assert found["rows"][1]["why"] == "the show is late"
    assert found["rows"][0]["changes"] == [{"key": "order", "before": "edf", "after": "sjf"}]
    assert (found["rows"][2]["since_ms"], found["total"]) == (None, 3)
    shown = milepost("policy", "history", "--limit", "2")
    assert "order edf → sjf" in shown.out
    assert "1 more; --limit shows them" in shown.err
    first = found["rows"][1]["position"]
    assert milepost.json("policy", "show", "--at", f"@{first}")["set"]["version"] == 2
    assert milepost.json("policy", "show", "--at", f"@{first - 1}")["set"]["version"] == 1


def test_sets_are_told_apart_by_number_file_and_change(milepost: Cli, tmp_path: Path) -> None:
    milepost("policy", "adopt", "order=edf", "energy=balanced")
    file = tmp_path / "ours.json"
    file.write_text(json.dumps({"order": "sjf"}))

    def rows(*sets: str) -> list[tuple[str, Any, Any]]:
        return [tuple(row.values()) for row in milepost.json("policy", "diff", *sets)["rows"]]  # type: ignore[misc]

    assert rows("1", "2") == [("order", "priority", "edf"), ("energy", "performance", "balanced")]
    assert rows("1") == [("order", "edf", "priority"), ("energy", "balanced", "performance")]
    assert rows("now", str(file)) == [("order", "edf", "sjf")]
    assert rows("order=fifo,backfill=2") == [
        ("order", "edf", "fifo"),
        ("backfill", "greedy", "depth"),
        ("backfill.reservations", None, 2),
    ]
    assert milepost("policy", "diff", "now", "2").out == "The sets are the same.\n"
    assert "there is no set 9 of policies; there is 1 to 2" in milepost("policy", "diff", "9", code=2).err


def test_the_list_names_every_policy_with_what_it_does(milepost: Cli) -> None:
    found = milepost.json("policy", "list")["rows"]
    assert {(each["family"], each["name"]) for each in found} == {
        (f, n) for f, known in FAMILIES.items() for n in known
    }
    night = next(each for each in found if each["name"] == "night-savings")
    assert night["parameters"]["idle_after_s"] == 300
    assert all(each["brief"] for each in found if not each["plugin"])
    assert {each["family"] for each in milepost.json("policy", "list", "energy")["rows"]} == {"energy"}
    assert "did you mean 'energy'?" in milepost("policy", "list", "enrgy", code=2).err
    assert "max_delay_h=24.0" in milepost("policy", "list", "energy").out


def test_the_shell_completes_families_and_changes(milepost: Cli) -> None:
    assert completions(["policy", "list"], "en").keys() == {"energy"}
    assert completions(["policy", "adopt"], "ener").keys() == {"energy="}
    assert completions(["policy", "adopt"], "energy=n").keys() == {"energy=night-savings"}


# -- comparing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(milepost: Cli, tmp_path: Path) -> str:
    """The data directory of a simulation on nodes that say what they draw."""
    data_dir, nodes = tmp_path / "kept", tmp_path / "nodes.toml"
    nodes.write_text('[[nodes]]\nid = "n-{n}"\ncount = 2\ncores = 8\nwatts_idle = 100\nwatts_peak = 300\n')
    milepost("simulate", "--synthetic", "60", "--nodes", str(nodes), "--data", str(data_dir))
    return str(data_dir)


def test_what_is_on_record_is_run_again_under_each_set(milepost: Cli, kept: str) -> None:
    sets = ("then", "order=sjf,backfill=easy", "energy=efficiency,tariff.price=0.5,tariff.currency=EUR")
    found = milepost.json("policy", "compare", *sets, "--data", kept)
    now, sjf, asleep = found["rows"]
    assert [each["set"] for each in found["rows"]] == list(sets)
    assert (now["moved"], now["recorded"]) == (0, now["simulated"])
    assert sjf["policies"]["order"] == "sjf"
    assert asleep["simulated"]["energy_kwh"] < now["simulated"]["energy_kwh"]
    assert asleep["simulated"]["energy_cost"] == pytest.approx(0.5 * asleep["simulated"]["energy_kwh"])
    used = milepost.json("usage", "--data", kept, "--to", f"{found['to_ms']}".zfill(12))
    joules = used["total"]["used_j"] + used["total"]["idle_j"]
    assert now["recorded"]["energy_kwh"] == pytest.approx(joules / 3.6e6, rel=1e-3)
    shown = milepost("policy", "compare", *sets, "--data", kept).out
    for text in ("(on record)", "AVERAGE WAIT", "SLOWDOWN", "UTILIZATION", "ENERGY COST", "kWh"):
        assert text in shown


def test_then_and_now_are_the_sets_at_the_first_and_the_last_moment(milepost: Cli, kept: str) -> None:
    milepost("policy", "adopt", "order=sjf", "--data", kept)
    found = milepost.json("policy", "compare", "then", "now", "--data", kept, "--to", "@100", "--from", "@1")
    assert [each["policies"]["order"] for each in found["rows"]] == ["fifo", "sjf"]


def test_a_set_that_cannot_be_is_named(milepost: Cli, kept: str) -> None:
    said = milepost("policy", "compare", "order=best", "--data", kept, code=2)
    assert "there is no order policy 'best'" in said.err


# -- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_without_a_value_is_as_by_default_again() -> None:
    base = Policies(
        order="edf",
        parameters={"energy": {"idle_after_s": 5}, "filter": {"dedicated": {"attribute": "team"}}},
        filters=("dedicated",),
        clients={"studio": ClientPolicies(placement="spread")},
        tariff=Tariff(0.3, (PriceWindow(0, 60, 0.1),), 60, "EUR"),
    )
    for text in (
        "order=",
        "energy.idle_after_s=",
        "filter.dedicated.attribute=",
        "filters=",
        "clients.studio.placement=",
    ):
        base = edited(base, text)
    assert base == Policies(tariff=Tariff(0.3, (PriceWindow(0, 60, 0.1),), 60, "EUR"))
    assert edited(base, "tariff.currency=").tariff == Tariff(0.3, (PriceWindow(0, 60, 0.1),), 60)


keys = st.sampled_from(
    [
        "order=edf", "order=", "backfill=2", "backfill=easy", "backfill.reservations=7", "filters=suited,dedicated",
        "filters=", "filter.dedicated.attribute=team", "filter.dedicated.attribute=", "energy.idle_after_s=600",
        "energy=night-savings", "energy.urgent=critical", "clients.studio.placement=spread", "clients.lab.estimate=",
        "clients.lab.priority=ageing", "clients.lab.priority.ranks_per_hour=0.5", "tariff.price=0.25",
        "tariff.utc_offset=+01:00", "tariff.currency=EUR", "estimate=predicted", "preemption=suspend",
    ]
)  # fmt: skip


@given(st.lists(keys, max_size=8), st.lists(keys, max_size=8))
def test_what_differs_leads_from_one_set_to_the_other(one: list[str], other: list[str]) -> None:
    first, second = (reduce(edited, texts, Policies()) for texts in (one, other))
    found = differences(first, second)
    told = {each.key: each.after for each in found}
    after = {key: told.get(key, value) for key, value in (flat(first) | told).items()}
    assert {key: value for key, value in after.items() if value is not None} == flat(second)
    assert found or flat(first) == flat(second)
    assert not found or first != second


def test_parameters_of_every_built_in_policy_are_known() -> None:
    assert edited(Policies(), "energy.urgent=critical").policy("energy").urgent is Priority.CRITICAL
    with pytest.raises(PolicyInvalid):
        edited(Policies(), "energy.urgent=never").check()
    with pytest.raises(BadInput):
        edited(Policies(), "energy")
