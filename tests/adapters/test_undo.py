"""Undo on the command line, over HTTP and in the library: what it tells, what it changes, and what would help."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from adapters.bootstrap import open_direct
from adapters.cli import cli
from adapters.cli.undoing import SHOWN
from adapters.executors.machine import LocalNode
from adapters.library import Milepost
from application.commands import AdoptPolicies
from domain import errors
from domain.job import commands as c
from domain.job.values import Priority
from domain.policies import Policies
from domain.resources import Resources
from tests.adapters.caller import Caller, served
from tests.adapters.cli_runner import Cli, kill_nodes
from tests.adapters.counter import Counter, a_day, counter
from tests.builders import spec

# -- on the command line ---------------------------------------------------------------------------------------------


def command_of(milepost: Cli, *words: str) -> str:
    """The id of a command that is given now."""
    return str(milepost.json(*words)["results"][0]["command_id"])


def test_what_was_changed_says_how_to_undo_it_and_that_undoes_it(milepost: Cli, shot: str) -> None:
    said = milepost("hold", shot, "--why", "wrong camera")
    assert said.out == f"{shot}  held\n"
    words = said.err.removeprefix("to undo: milepost ").split()
    assert words[0] == "undo"
    undone = milepost(*words, "--why", "it was the right one")
    assert undone.out == (
        f"{words[1]}  undone\n"
        f"  {shot} is no longer held (undoes {words[1]}: it was the right one).\n"
    )  # fmt: skip
    assert milepost.status(shot) == "queued"
    again = undone.err.removeprefix("to have it again: milepost ").split()
    milepost(*again)
    assert milepost.status(shot) == "pending"


def test_everything_that_can_be_undone_on_the_command_line_gives_an_id_that_undoes_it(milepost: Cli, shot: str) -> None:
    milepost("client", "add", "lab")
    for words in (
        ("hold", shot), ("unhold", shot), ("pause", shot), ("resume", shot), ("prioritize", "high", shot),
        ("deadline", "+2h", shot), ("drain", "node-1"), ("undrain", "node-1"),
        ("client", "set", "lab", "--limit", "5"), ("client", "suspend", "lab"), ("client", "reinstate", "lab"),
    ):  # fmt: skip
        (result,) = milepost.json(*words)["results"]
        assert result["undo"] == result["command_id"]
        milepost("undo", result["undo"])
        milepost(*words)  # for real, so that the next one has something to change
    assert "(as before)" in milepost("undrain", "node-1").out
    assert milepost("undrain", "node-1").err == ""
    assert milepost.json("cancel", shot)["results"][0]["undo"] is None
    assert milepost("retry", shot).err == ""


def test_what_would_be_undone_is_shown_and_nothing_is_changed(milepost: Cli, shot: str) -> None:
    command_id = command_of(milepost, "prioritize", "critical", shot)
    before = milepost.position()
    said = milepost("undo", "--dry-run", command_id)
    assert said.out == (
        f"{command_id}  would be undone\n"
        f"  The priority of {shot} changed from critical to medium (undoes {command_id}).\n"
    )  # fmt: skip
    (found,) = milepost.json("undo", "--dry-run", command_id)["results"]
    assert (found["id"], found["ok"], found["changed"], found["changes"]) == (command_id, True, False, 1)
    assert found["actor"] == milepost.user()
    assert [(row["stream"], row["topic"]) for row in found["rows"]] == [(shot, "job.priority_changed")]
    assert milepost.position() == before


def test_the_beginning_of_an_id_is_enough_where_it_is_unique(milepost: Cli, shot: str) -> None:
    first, second = command_of(milepost, "hold", shot), command_of(milepost, "drain", "node-1")
    common = next(first[:n] for n in range(len(first)) if first[n] != second[n])
    ambiguous = milepost("undo", common, code=2)
    assert first in ambiguous.err
    assert second in ambiguous.err
    assert milepost.json("undo", second[: len(common) + 1])["results"][0]["id"] == second
    assert milepost.json("nodes")["rows"][0]["draining"] is False


def test_refusals_name_the_command_and_what_would_help(milepost: Cli, shot: str) -> None:
    assert "`milepost audit` shows the ids" in milepost("undo", "cmd-none", code=2).err
    submitted = milepost.json("events", shot, "--topic", "job.submitted")["meta"]["command_id"]
    assert f"it submitted {shot}; `milepost cancel` ends it" in milepost("undo", submitted, code=3).err
    held, freed = command_of(milepost, "hold", shot), command_of(milepost, "unhold", shot)
    said = milepost("undo", held, code=3)
    assert said.err.startswith(f"milepost: command '{held}' cannot be undone: the hold of {shot} was changed again by ")
    assert said.err.endswith(f"; undo '{freed}' first\n")
    results = milepost.json("undo", held, freed, held, code=3)["results"]  # one after the other
    assert [each["ok"] for each in results] == [False, True, True]
    assert results[0]["error"]["fields"]["by"] == freed
    assert "was undone already by" in milepost("undo", "--dry-run", held, code=3).err
    drained = command_of(milepost, "undrain", "node-1")
    assert "changed nothing" in milepost("undo", drained, code=3).err
    assert milepost("undo", "", code=2).err == "milepost: an id is empty\n"


def test_the_audit_shows_the_ids_and_tells_of_the_undoing(milepost: Cli, shot: str) -> None:
    command_id = command_of(milepost, "hold", shot)
    assert command_id in milepost("audit").out
    own_id = command_of(milepost, "undo", command_id, "--why", "a slip")
    (row,) = milepost.json("audit", "--topic", "command.undone")["rows"]
    assert (row["command_id"], row["cause"], row["reason"]) == (own_id, f"undo:{command_id}", "a slip")
    assert row["summary"] == f"The command {command_id} of {milepost.user()} was undone: 1 change (a slip)."
    assert f"(undoes {command_id}: a slip)" in milepost("story", shot).out


def test_a_set_of_policies_is_undone_by_the_id_that_the_audit_shows(milepost: Cli) -> None:
    direct = open_direct(milepost.data_dir)
    direct.app.handle(AdoptPolicies(policies=Policies(order="fifo")), "user:ada")  # nobody was told its id
    direct.close()
    (row,) = milepost.json("audit", "--topic", "policies.adopted")["rows"]
    said = milepost("undo", row["command_id"])
    assert "Policies version 3 are in force: order priority" in said.out


def test_many_changes_are_told_in_part_and_counted(milepost: Cli) -> None:
    jobs = [f"job-{number}" for number in range(12)]
    direct = open_direct(milepost.data_dir)
    direct.app.handle_all([c.SubmitJob(spec=spec(job_id, client_id="default")) for job_id in jobs], "user:ada")
    changes = [
        change
        for job_id in jobs
        for change in (c.HoldJob(job_id=job_id), c.PrioritizeJob(job_id=job_id, priority=Priority.HIGH))
    ]
    direct.app.handle_all(changes, "user:ada", "cmd-many")
    direct.close()
    said = milepost("undo", "cmd-many").out.splitlines()
    assert len(said) == 1 + SHOWN + 1
    assert said[-1] == "  and 4 more"
    assert milepost("hold", *jobs).err.endswith(" …\n")


def test_the_shell_completes_what_this_person_can_undo(milepost: Cli, shot: str) -> None:
    command_id = command_of(milepost, "hold", shot)
    shell = BashComplete(cli, {}, "milepost", "_MILEPOST_COMPLETE")
    found = {item.value: item.help for item in shell.get_completions(["undo"], "cmd-")}
    assert found == {command_id: f"{shot} was held."}


# -- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    with counter(tmp_path / "data", on_disk=True) as opened:
        a_day(opened)
        with served(opened) as found:
            yield found


def test_an_undo_can_be_posted_and_asked_about(caller: Caller) -> None:
    desk: Counter = caller.desk
    foreseen = caller.get("/api/undo/cmd-dra").json
    assert (foreseen["command_id"], foreseen["actor"], foreseen["changes"]) == ("cmd-drain", "user:ada", 1)
    done = caller.post({"command": "undo", "command_id": "cmd-drain", "why": "too soon"}, command_id="cmd-back")
    assert (done.status, done.json["events"]) == (200, 2)
    assert not desk.node("n1").draining
    for refused in (
        caller.post({"command": "undo", "command_id": "cmd-drain"}, actor="user:bob"),
        caller.get("/api/undo/cmd-drain"),
    ):
        assert (refused.status, refused.json["code"]) == (409, "command.already-undone")
        assert refused.json["fields"]["undone_by"] == "cmd-back"
    unknown = caller.post({"command": "undo", "command_id": "cmd-none"})
    assert (unknown.status, unknown.json["code"]) == (404, "command.not-found")
    wrong = caller.post({"command": "undo"})
    assert (wrong.status, wrong.json["code"]) == (400, "input.invalid")


def test_undo_is_described_like_all_commands(caller: Caller) -> None:
    found = caller.get("/schema/openapi.json").json
    assert found["components"]["schemas"]["Undo"]["properties"].keys() == {"command", "command_id", "why"}
    assert "/api/undo/{id}" in found["paths"]


# -- in the library --------------------------------------------------------------------------------------------------


def test_a_program_undoes_what_it_did(tmp_path: Path) -> None:
    node = LocalNode("alone", Resources(millicores=2_000, memory_mib=512))
    with Milepost.open(tmp_path / "farm", nodes=[node]) as farm:
        job_id = farm.submit("true", cpus=2)
        farm.handle(c.HoldJob(job_id=job_id), command_id="cmd-mine")
        farm.adopt(Policies(order="fifo"))
        adopted = farm.events("policies")[-1].meta.command_id
        farm.undo("cmd-mine", "it may run after all")
        farm.undo(adopted)
        assert farm.app.farm.policies.order == Policies().order
        assert f"{job_id} is no longer held (undoes cmd-mine: it may run after all)." in farm.story(job_id)
        with pytest.raises(errors.AlreadyUndone):
            farm.undo("cmd-mine")
    kill_nodes(tmp_path / "farm")
