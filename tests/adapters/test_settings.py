"""Settings: every key has its place, every mistake its name, and variables come before the file."""

import re
import tomllib
from pathlib import Path

import pytest

from adapters import settings
from adapters.settings import EXAMPLE, FILE_NAME, NodeSettings, Section, Settings, load
from application.watchdog import Timing
from domain.errors import BadInput, PolicyInvalid
from domain.policies import ClientPolicies, Policies
from domain.tariff import PriceWindow, Tariff


def write(folder: Path, text: str) -> Path:
    path = folder / FILE_NAME
    path.write_text(text)
    return path


def test_without_a_file_everything_is_as_by_default(tmp_path: Path) -> None:
    assert load(tmp_path, {}) == Settings()


def test_the_example_file_changes_nothing_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, EXAMPLE)
    assert load(tmp_path, {}) == Settings()


def test_the_example_file_names_every_setting_with_its_default(tmp_path: Path) -> None:
    uncommented = re.sub(r"^#(?=[\w\[])", "", EXAMPLE, flags=re.MULTILINE)
    shown = tomllib.loads(uncommented)
    assert shown.keys() == set(Settings.__struct_fields__)
    for name in ("node", "timing", "policies"):
        kind: type[Section] = type(getattr(Settings(), name))
        assert shown[name].keys() == set(kind.__struct_fields__)
    write(tmp_path, uncommented)
    loaded = load(tmp_path, {})
    assert (loaded.node_count, loaded.port, loaded.timing) == (
        Settings().node_count,
        Settings().port,
        settings.TimingSettings(),
    )
    assert loaded.policies.over(Policies()) == Policies(parameters={"order": {}})


def test_the_timing_is_that_of_the_watchdog_unless_it_is_set(tmp_path: Path) -> None:
    assert Settings().watchdog_timing() == Timing()
    write(tmp_path, "[timing]\nlease_ms = 4000\nrespawn_ms = -1")
    assert load(tmp_path, {}).watchdog_timing() == Timing(lease_ms=4_000, respawn_ms=-1)


def test_a_variable_comes_before_the_file(tmp_path: Path) -> None:
    write(tmp_path, "node_count = 2\n[timing]\nlease_ms = 4000")
    environ = {"MILEPOST_NODE_COUNT": "5", "MILEPOST_TIMING_MARGIN_MS": "70", "MILEPOST_NODE_CORES": "1.5"}
    loaded = load(tmp_path, environ)
    assert (loaded.node_count, loaded.timing.lease_ms, loaded.timing.margin_ms) == (5, 4_000, 70)
    assert loaded.node.cores == 1.5


def test_variables_of_attempts_are_no_settings(tmp_path: Path) -> None:
    environ = {"MILEPOST_JOB_ID": "job-1", "MILEPOST_NODES": "node-1:1", "MILEPOST_ATTEMPT": "job-1.0.1"}
    assert load(tmp_path, environ) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node_cont = 1", "there is no setting 'node_cont'; did you mean 'node_count'?"),
        ("[timing]\nlease = 1", "there is no setting 'timing.lease'; did you mean 'lease_ms'?"),
        ("[strange]\nx = 1", "there is no setting 'strange'; known are node_count"),
        ("[named_nodes.gpu]\ncore = 1", "there is no setting 'named_nodes.gpu.core'; did you mean 'cores'?"),
        ("[timing]\nlease_ms = 'soon'", "timing.lease_ms: expected `int`, got `str`"),
        ("[named_nodes.gpu]\ngpus = -1", "named_nodes.gpu.gpus: expected `int` >= 0"),
        ("named_nodes = 3", "named_nodes: expected `object`, got `int`"),
        ("timing = 3", "timing: expected `object`, got `int`"),
        ("port = 70000", "port: expected `int` <= 65535"),
        ("node_count = 0", "there is no node at all"),
        ("[named_nodes.'a b']", "named_nodes.a b: an id is plain letters"),
        ("node_count = 2\n[named_nodes.node-2]", "named_nodes.node-2: one of the 2 equal nodes has that name"),
        ("[timing]\nsuspect_ms = 9000\nlease_ms = 8000", "timing.suspect_ms (9000) must not exceed timing.lease_ms"),
        ("[policies]\norder = 'chaos'", "policies: there is no order policy 'chaos'; known are edf, f1"),
        ("[policies]\nfilters = 'dedicated'", "policies.filters: expected `array | null`, got `str`"),
        ("[policies]\nbackfill = 0", "policies.backfill: expected `int` >= 1"),
        ("[policies.clients.studio]\norder = 'fifo'", "there is no setting 'policies.clients.studio.order'"),
        (
            "[policies.clients.studio]\nestimate = 'chaos'",
            "policies: client 'studio': there is no estimate policy 'chaos'",
        ),
        ("node_count = [", "not TOML"),
        ("[node]\nwatts_idle = 100\nwatts_peak = 50", "node: watts_peak (50) is below watts_idle (100)"),
        ("[named_nodes.gpu]\nwatts_peak = -1", "named_nodes.gpu.watts_peak: expected `int` >= 0"),
        ("[policies]\nenergy = 'none'", "policies: there is no energy policy 'none'; known are balanced"),
        ("[policies.tariff]\npric = 1", "policies: there is no key 'tariff.pric'; did you mean 'price'?"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load(tmp_path, {})
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_what_is_no_text_or_far_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not TOML"):
        load(tmp_path, {})
    (tmp_path / FILE_NAME).write_bytes(b"#" * (settings.MAX_FILE_BYTES + 1))
    with pytest.raises(BadInput, match="larger than"):
        load(tmp_path, {})


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="variable MILEPOST_PORT: "):
        load(tmp_path, {"MILEPOST_PORT": "many"})


def test_nodes_have_what_is_said_and_of_the_rest_their_share(tmp_path: Path) -> None:
    write(
        tmp_path,
        'node_count = 2\n[node]\ncores = 0.5\nnamed = { houdini = 1, none = 0 }\nattributes = { room = ["a"] }\n'
        "[named_nodes.gpu-1]\ngpus = 3\nmemory_mib = 100",
    )
    nodes = load(tmp_path, {}).nodes()
    assert [node.node_id for node in nodes] == ["node-1", "node-2", "gpu-1"]
    first, _, gpu = nodes
    assert (first.capacity.millicores, first.capacity.named) == (500, (("houdini", 1),))
    assert first.attributes["room"] == ("a",)
    assert "worker.os.family" in first.attributes
    assert (gpu.capacity.gpus, gpu.capacity.memory_mib, gpu.capacity.named) == (3, 100, ())
    assert gpu.capacity.millicores >= 1_000


def test_policies_that_are_not_named_stay_as_they_are() -> None:
    present = Policies(order="fifo", backfill="none")
    assert settings.PolicySettings().over(present) == present
    assert settings.PolicySettings(order="priority").over(present) == Policies(order="priority", backfill="none")
    with pytest.raises(PolicyInvalid):
        settings.PolicySettings(placement="nowhere").over(present)


def test_a_node_named_like_none_of_the_equal_ones_is_welcome(tmp_path: Path) -> None:
    write(tmp_path, "node_count = 1\n[named_nodes.node-2]\ncores = 1")
    assert load(tmp_path, {}).named_nodes == {"node-2": NodeSettings(cores=1)}


def test_every_family_of_policies_can_be_set_and_differ_for_a_client(tmp_path: Path) -> None:
    text = """
        [policies]
        order = "fifo"
        priority = "given"
        estimate = "requested"
        filters = []
        backfill = 3
        [policies.clients.studio]
        placement = "best-fit"
    """
    write(tmp_path, text)
    assert load(tmp_path, {}).policies.over(Policies(filters=("x",))) == Policies(
        order="fifo",
        backfill="depth",
        parameters={"backfill": {"reservations": 3}},
        clients={"studio": ClientPolicies(placement="best-fit")},
    )
    by_variable = load(tmp_path, {"MILEPOST_POLICIES_BACKFILL": "2", "MILEPOST_POLICIES_ORDER": "sjf"})
    assert by_variable.policies.over(Policies()).parameters == {"backfill": {"reservations": 2}}
    assert by_variable.policies.over(Policies()).order == "sjf"


def test_nodes_say_what_they_draw_and_cost(tmp_path: Path) -> None:
    write(tmp_path, "[node]\nwatts_idle = 90\nwatts_peak = 350\nwake_s = 30\nprice_per_h = 1.5")
    (node,) = load(tmp_path, {}).nodes()
    said = {name: node.attributes[name] for name in ("watts_idle", "watts_peak", "wake_s", "price_per_h")}
    assert said == {"watts_idle": ("90",), "watts_peak": ("350",), "wake_s": ("30",), "price_per_h": ("1.5",)}


def test_a_farm_follows_an_energy_mode_and_a_tariff_that_are_set(tmp_path: Path) -> None:
    text = "[policies]\nenergy = 'night-savings'\n[policies.tariff]\nprice = 0.3\nutc_offset = '+01:00'"
    write(tmp_path, text + "\nwindows = [{ from = '22:00', until = '06:00', price = 0.1 }]")
    found = load(tmp_path, {}).policies.over(Policies())
    tariff = Tariff(0.3, (PriceWindow(1_320, 360, 0.1),), 60)
    assert found == Policies(energy="night-savings", tariff=tariff)


def test_parameters_that_are_set_leave_those_of_other_families_alone() -> None:
    present = Policies(energy="efficiency", parameters={"energy": {"idle_after_s": 2}, "order": {}})
    lending = settings.PolicySettings(sharing="lending", parameters={"sharing": {"reclaim_period_s": 60}})
    assert lending.over(present).parameters == {**present.parameters, "sharing": {"reclaim_period_s": 60}}
    assert settings.PolicySettings(energy="efficiency").over(present) == present, "the same answer keeps its parameters"
    assert settings.PolicySettings(energy="balanced").over(present).parameters == {"order": {}}


def test_another_answer_does_not_fall_over_the_parameters_of_the_last_one() -> None:
    present = Policies(order="portfolio", parameters={"order": {"every_h": 3}}, filters=("dedicated",))
    assert settings.PolicySettings(order="edf").over(present) == Policies(order="edf", filters=("dedicated",))
