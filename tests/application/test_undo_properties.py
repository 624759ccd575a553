"""Undo of whatever was changed in whatever order: states come back exactly, or nothing changes at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec.structs import replace

from application.commands import AdoptPolicies
from application.undo import Undo
from domain import errors
from domain.client import ChangeShares, ReinstateClient, Shares, SuspendClient
from domain.job import commands as c
from domain.job.values import Priority
from domain.messages import Command
from domain.node import DrainNode, UndrainNode
from domain.policies import Policies
from domain.undo import UNDOABLE
from tests.application.desk import Desk
from tests.application.test_properties import FarmMachine, picks
from tests.builders import NOW, SECOND

JOBS = st.sampled_from(["job-1", "job-2", "job-3"])
NODES = st.sampled_from(["n1", "n2"])
CLIENTS = st.sampled_from(["show", "default"])
WHYS = st.sampled_from(["", "a new disk", "it smokes"])
SHARES = st.builds(
    Shares, st.just(0), st.sampled_from([50, 100]), st.sampled_from(["standard", "gold"]), st.sampled_from([None, 2])
)
ORDERS = st.sampled_from(["priority", "fifo", "sjf"])
ANY: st.SearchStrategy[Command] = st.one_of(
    st.builds(c.PrioritizeJob, job_id=JOBS, priority=st.sampled_from(Priority)),
    st.builds(c.SetDeadline, job_id=JOBS, deadline_ms=st.sampled_from([None, NOW, NOW + SECOND])),
    st.builds(c.HoldJob, job_id=JOBS),
    st.builds(c.UnholdJob, job_id=JOBS),
    st.builds(ChangeShares, client_id=CLIENTS, shares=SHARES),
    st.builds(SuspendClient, client_id=CLIENTS),
    st.builds(ReinstateClient, client_id=CLIENTS),
    st.builds(DrainNode, node_id=NODES, why=WHYS),
    st.builds(UndrainNode, node_id=NODES),
)
ADOPTED = st.builds(lambda order: AdoptPolicies(policies=Policies(order=order)), ORDERS)
BULK = st.lists(ANY, min_size=1, max_size=5) | st.lists(ADOPTED, min_size=1, max_size=1)
"""Commands given together. Policies are adopted once in each."""


def opened() -> Desk:
    desk = Desk()
    desk.nodes("n1", "n2")
    desk.client("show")
    desk.submit("job-1", "job-2")
    desk.submit("job-3", held=True, deadline_ms=NOW)
    return desk


def states(desk: Desk) -> Any:
    """Everything but versions, which only grow, and the number of the set of policies."""
    farm = desk.app.farm
    return dict(farm.jobs), dict(farm.nodes), dict(farm.clients), replace(farm.policies, version=0)


def do(desk: Desk, command_id: str, *commands: Command) -> bool:
    """Carries commands out, a moment later; whether that changed anything."""
    desk.clock.advance(SECOND)
    return desk.do(*commands, command_id=command_id).events > 0


def refused(desk: Desk, command_id: str, *kinds: type[errors.TaskSchedulerError]) -> None:
    before = states(desk), len(desk.topics())
    with pytest.raises(kinds):
        desk.do(Undo(command_id=command_id))
    assert (states(desk), desk.topics()[before[1] :]) in [(before[0], []), (before[0], ["command.refused"])]


def things(desk: Desk) -> dict[tuple[str, str], Any]:
    """Everything that can be changed by itself, and how it is."""
    jobs, nodes, clients, policies = states(desk)
    found: dict[tuple[str, str], Any] = {("policies", ""): policies}
    for job_id, job in jobs.items():
        found |= {(job_id, name): getattr(job, name) for name in ("priority", "deadline_ms", "held")}
    for client_id, client in clients.items():
        found |= {(client_id, name): getattr(client, name) for name in ("shares", "suspended")}
    return found | {(node_id, "drain"): (node.draining, node.why) for node_id, node in nodes.items()}


@given(st.lists(BULK, min_size=1, max_size=8))
def test_undoing_the_last_command_brings_back_the_states_before_and_undoing_that_those_after(
    bulks: list[list[Command]],
) -> None:
    desk = opened()
    changed, before = False, None
    for number, bulk in enumerate(bulks):
        before = states(desk)
        changed = do(desk, f"cmd-{number}", *bulk)
    after, last = states(desk), f"cmd-{len(bulks) - 1}"
    if after == before:
        if not changed:
            refused(desk, last, errors.NothingToUndo)
        return
    assert do(desk, "cmd-back", Undo(command_id=last))
    assert states(desk) == before
    refused(desk, last, errors.AlreadyUndone)
    assert do(desk, "cmd-again", Undo(command_id="cmd-back"))
    assert states(desk) == after
    refused(desk, "cmd-back", errors.AlreadyUndone)
    assert do(desk, "cmd-finally", Undo(command_id=last))
    assert states(desk) == before
    desk.check()


@given(st.lists(BULK, min_size=2, max_size=8), st.data())
def test_a_command_that_was_overtaken_is_refused_until_what_came_after_it_is_undone(
    bulks: list[list[Command]], data: st.DataObject
) -> None:
    desk = opened()
    start, touched = states(desk), dict[str, set[tuple[str, str]]]()
    for number, bulk in enumerate(bulks):
        before = things(desk)
        do(desk, f"cmd-{number}", *bulk)
        touched[f"cmd-{number}"] = {thing for thing, how in things(desk).items() if how != before[thing]}
    ids = [command_id for command_id, changed in touched.items() if changed]
    if not ids:
        return
    at = data.draw(st.integers(0, len(ids) - 1))
    chosen = ids[at]
    if touched[chosen] & set().union(*(touched[later] for later in ids[at + 1 :])):
        refused(desk, chosen, errors.UndoOvertaken)
    else:
        do(desk, "cmd-early", Undo(command_id=chosen))
        refused(desk, chosen, errors.AlreadyUndone)
        ids.remove(chosen)
    for number, command_id in enumerate(reversed(ids)):
        do(desk, f"cmd-back-{number}", Undo(command_id=command_id))
    assert states(desk) == start
    desk.check()


# -- on a farm where everything else happens, too ------------------------------------------------------------------


class UndoMachine(FarmMachine):
    """The farm of the other properties, on which people also undo whatever was asked before."""

    @rule(pick=picks, newest=st.booleans())
    def undo(self, pick: int, newest: bool) -> None:
        asked = [name for name, (commands, _) in self.asked.items() if isinstance(commands[0], (*UNDOABLE, Undo))]
        self.ask(Undo(command_id=asked[-1] if newest and asked else self.some(pick, asked)))


TestUndoOnAFarm = UndoMachine.TestCase
