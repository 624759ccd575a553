"""What people see and say of preemption: contracts, explanations of both sides, and what it cost."""

from pathlib import Path
from typing import Any

import pytest

from adapters.cli.preemptions import core_hours
from adapters.cli.protecting import terms
from adapters.store.sqlite import open_log
from application.commands import AdoptPolicies
from domain.errors import BadInput
from domain.job.values import Priority, Protection
from domain.policies import Policies
from tests.adapters.cli_runner import Cli, make_farm
from tests.application.desk import Desk
from tests.application.test_preemption import MINUTE, running, stop
from tests.builders import HOUR, NOW

TEMPLATE = """\
specificationVersion: jobtemplate-2023-09
name: Long
steps:
  - name: First
    script: {actions: {onRun: {command: "true"}}}
"""


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(tmp_path, capsys, monkeypatch)


def preempted(folder: Path, mode: str) -> Desk:
    """A store in which `job-low` has made way for `job-high`, which runs; `job-calm` was left alone."""
    desk = Desk(log=open_log(folder))
    desk.do(AdoptPolicies(policies=Policies(preemption=mode)))
    desk.nodes("n1", "n2", cores=4)
    running(desk, "job-calm", walltime_ms=2 * HOUR)
    running(desk, "job-low", walltime_ms=HOUR)
    desk.submit("job-high", cores=4, priority=Priority.HIGH)
    desk.cycle()
    if mode != "suspend":
        desk.clock.advance(MINUTE)
        stop(desk, "job-low")
    desk.cycle()
    desk.start("job-high")
    return desk


# -- contracts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "contract"),
    [
        ("never", Protection(never=True)),
        ("always", Protection()),
        ("none", None),
        ("checkpoint", Protection(after_checkpoint=True)),
        ("2026-12-24T18:00Z", Protection(until_ms=1_798_135_200_000)),
        ("checkpoint,2026-12-24T18:00Z", Protection(until_ms=1_798_135_200_000, after_checkpoint=True)),
    ],
)
def test_terms_are_words_and_a_time(text: str, contract: Protection | None) -> None:
    assert terms(text) == contract


@pytest.mark.parametrize(
    "text", ["never,checkpoint", "always,never", "+1h,+2h", "checkpoint,checkpoint", "", "sometimes"]
)
def test_terms_that_say_two_things_at_once_are_refused(text: str) -> None:
    with pytest.raises((ValueError, BadInput), match=r"two things at once|is no time"):
        terms(text)


def test_contracts_of_jobs_and_clients_are_changed_and_told(cli: Cli) -> None:
    make_farm(cli.data_dir)
    job_id = cli.submit("--protect", "checkpoint", "--checkpoints", "--", "true")
    cli("client", "add", "lab")
    assert "may be interrupted never" in cli("protect", "never", job_id, "--why", "the final render").out
    assert "(as before)" in cli("protect", "never", job_id).out
    cli("protect", "--client", "checkpoint", "lab")
    story = cli("story", job_id).out
    assert "may now be interrupted never (the final render)" in " ".join(story.split())
    assert "only after a checkpoint" in cli("story", "lab").out
    spec = cli.json("events", job_id, "--topic", "job.submitted")["event"]["spec"]
    assert (spec["protection"], spec["checkpoints"]) == ({"after_checkpoint": True}, True)
    cli("protect", "never", "job-none", code=2)
    cli("protect", "sometimes", job_id, code=2)


def test_a_template_gives_its_terms_to_all_its_jobs(cli: Cli) -> None:
    make_farm(cli.data_dir)
    cli.data_dir.joinpath("long.yaml").write_text(TEMPLATE)
    cli("submit", "--protect", "never", "--checkpoints", str(cli.data_dir / "long.yaml"))
    spec = cli.json("events", "--topic", "job.submitted")["event"]["spec"]
    assert (spec["protection"], spec["checkpoints"]) == ({"never": True}, True)


# -- both sides ------------------------------------------------------------------------------------------------------


def test_explain_tells_the_victim_for_whom_it_made_way_and_what_it_lost(cli: Cli) -> None:
    preempted(cli.data_dir, "requeue").log.close()
    told = cli("explain", "job-low").out
    assert "Attempt 1 made way for job-high (its priority is higher; requeued)" in told
    assert "it had run 10 min and loses 10 min of work" in told


def test_explain_tells_the_preemptor_who_made_way_and_who_was_left_alone(cli: Cli) -> None:
    preempted(cli.data_dir, "requeue").log.close()
    told = cli("explain", "job-high").out
    assert "room on n2 was claimed for a task of it, because its priority is higher" in told
    assert "job-low (attempt 1, 10 min at risk) made way (requeued); otherwise it would have started at" in told
    assert "left alone instead: job-calm (attempt 1) on n1: its cost is 1.33" in told


def test_explain_says_who_stands_still_for_whom(cli: Cli) -> None:
    preempted(cli.data_dir, "suspend").log.close()
    told = cli("explain", "job-calm").out
    assert "attempt 1 stands still for job-high; it goes on when its cores are free" in told
    shown = cli.json("show", "job-calm")["attempts"][0]
    assert (shown["preempted_by"], shown["suspended_ms"]) == ("job-high", NOW + 20 * MINUTE)


def test_audit_sums_up_what_preemptions_cost_and_spared(cli: Cli) -> None:
    preempted(cli.data_dir, "requeue").log.close()
    found: dict[str, Any] = cli.json("audit", "preemptions")
    (row,) = found["rows"]
    assert (row["job_id"], row["state"], row["victims"][0]["at_risk_ms"]) == ("job-high", "started", 10 * MINUTE)
    assert row["lost_core_ms"] == found["lost_core_ms"] == 4 * 11 * MINUTE
    assert row["spared_core_ms"] == 4 * (HOUR - 11 * MINUTE)
    assert found["regret_core_ms"] == row["lost_core_ms"] - row["spared_core_ms"]
    said = cli("audit", "preemptions", "--entity", "job-low", "--since", "2020-01-01").out
    regret = core_hours(found["regret_core_ms"])
    assert f"1 attempt made way: 0.73 core hours lost, 3.27 spared, regret {regret}." in said
    assert "Nobody has made way" in cli("audit", "preemptions", "--entity", "job-calm").out
    cli("audit", "preemptions", "--actor", "user:ada", code=2)
