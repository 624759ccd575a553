"""A referee of interruptions: books of contracts, claims and victims, kept from the log alone.

nobody is interrupted against a contract · victims stand far enough below · none of them could be left out ·
claimed room is given to nobody else · a claim ends with a start on it, or with a reason · what is suspended finds
its cores again · no node over-allocated, no task live twice (as every referee sees to)
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from domain.client import ClientProtectionChanged
from domain.cycle import PoliciesAdopted
from domain.intervals import size
from domain.job import events as e
from domain.job.values import (
    PRIORITY_RANK,
    NodeSlots,
    PreemptionCause,
    PreemptionMode,
    Protection,
    StopCause,
    Victim,
)
from domain.messages import Event, Recorded
from domain.policies import Policies, made
from domain.resources import Resources
from tests.application.referee import Referee

Places = list[tuple[NodeSlots, ...]]


class PreemptionReferee(Referee):
    """Books of one log."""

    def __init__(self) -> None:
        super().__init__()
        self.policies = Policies()
        self.contracts: dict[str, Protection | None] = {}
        self.of_clients: dict[str, Protection | None] = {}
        self.priorities: dict[str, Any] = {}
        self.claims: dict[str, Places] = {}
        self.leaving: set[tuple[str, int]] = set()
        self.started: dict[tuple[str, int], int] = {}
        self.saved: set[tuple[str, int]] = set()
        self.preempted = 0
        self.by_right: Counter[str] = Counter()
        self.claimed_ms = 0
        """When room was claimed last."""
        self.checked = 0
        """Victims of whom it is known that they were needed."""
        self.honoured = 0
        """Places of claims on which a task started."""

    def see(self, recorded: Recorded) -> None:
        """The next event of the log."""
        event = recorded.event
        handler = _SEES.get(type(event))
        if isinstance(event, e.TasksPlaced):
            self._starts(event)
        super().see(recorded)
        if handler is not None:
            handler(self, event)
        if isinstance(event, e.TasksPlaced | e.TasksResumed):
            self._claims_still_fit(event)

    # -- what is known -------------------------------------------------------------------------------------------

    def _policies_adopted(self, event: PoliciesAdopted) -> None:
        self.policies = event.policies

    def _job_submitted(self, event: e.JobSubmitted) -> None:
        self.contracts[event.spec.job_id] = event.spec.protection
        self.priorities[event.spec.job_id] = event.spec.priority

    def _job_priority_changed(self, event: e.JobPriorityChanged) -> None:
        self.priorities[event.job_id] = event.priority

    def _job_protection_changed(self, event: e.JobProtectionChanged) -> None:
        self.contracts[event.job_id] = event.protection

    def _client_protection_changed(self, event: ClientProtectionChanged) -> None:
        self.of_clients[event.client_id] = event.protection

    def _tasks_started(self, event: e.TasksStarted) -> None:
        self.started |= {(event.job_id, number): event.at_ms for number in event.attempts}

    def _task_checkpointed(self, event: e.TaskCheckpointed) -> None:
        self.saved.add((event.job_id, event.attempt))

    def _tasks_stopping(self, event: e.TasksStopping) -> None:
        self.leaving |= {(event.job_id, number) for number in event.attempts}

    # -- what must hold ------------------------------------------------------------------------------------------

    def _tasks_preempted(self, event: e.TasksPreempted) -> None:
        self.preempted += len(event.attempts)
        spec = self.specs[event.job_id]
        own = self.contracts[event.job_id]
        contract = own if own is not None else self.of_clients.get(spec.client_id)
        policy = made(self.policies).preemption
        for each in event.attempts:
            key = event.job_id, each.attempt
            assert key in self.live, f"{key} makes way and does not run"
            assert key not in self.leaving, f"{key} makes way and leaves already"
            if contract is None:
                limit_ms = policy.protect_longer_than_h * 3_600_000
                assert (spec.walltime_ms or 0) <= limit_ms, f"{key} runs for months and was interrupted"
                continue
            assert not contract.never, f"{key} was interrupted against its contract"
            assert contract.until_ms is None or event.at_ms >= contract.until_ms, f"{key} was interrupted too early"
            assert not contract.after_checkpoint or key in self.saved, f"{key} had saved nothing"
        if event.mode is PreemptionMode.CHECKPOINT:
            assert spec.checkpoints, f"{event.job_id} cannot save its state"

    def _room_claimed(self, event: e.RoomClaimed) -> None:
        assert event.job_id not in self.claims, f"{event.job_id} has a claim already"
        self.by_right[event.why] += 1
        places = [place.nodes for place in event.places]
        policy = made(self.policies).preemption
        for victim in event.victims:
            if event.why is PreemptionCause.PRIORITY:
                above = PRIORITY_RANK[self.priorities[event.job_id]] - PRIORITY_RANK[self.priorities[victim.job_id]]
                assert above >= policy.levels, f"{victim.job_id} stands only {above} levels below {event.job_id}"
        assert self._room_for(event, places, event.victims), f"{event.job_id} could not start on its claim"
        if not self.leaving & self.live.keys() and event.at_ms > self.claimed_ms:
            # else room that comes free may be left to somebody who comes before it
            for victim in event.victims:
                others = [other for other in event.victims if other is not victim]
                assert not self._room_for(event, places, others), f"{victim} makes way and need not"
                self.checked += 1
        self.claimed_ms = event.at_ms
        self.claims[event.job_id] = places

    def _room_for(self, event: e.RoomClaimed, places: Places, victims: Iterable[Victim]) -> bool:
        """Whether all places of a claim are free once these victims and all that leaves have made way."""
        free = self._free_when_left()
        for victim in victims:
            held = self.held_by(victim.job_id, victim.attempt)
            freed = Resources(held.millicores) if event.mode is PreemptionMode.SUSPEND else held
            for node_id, slots in victim.nodes:
                free[node_id] = free[node_id].plus(freed, slots)
        need = self.specs[event.job_id].requirement.resources
        for place in places:
            for node_id, slots in place:
                free[node_id] = free[node_id].plus(need, -slots)
        return all(_is_enough(free[node_id]) for place in places for node_id, _ in place)

    def _free_when_left(self) -> dict[str, Resources]:
        """What is free on each node once all that leaves has left, less what is claimed there."""
        free = {
            node_id: node.capacity.minus(self.used.get(node_id, Resources())) for node_id, node in self.nodes.items()
        }
        for job_id, number in self.leaving & self.live.keys():
            for node_id, slots in self.live[job_id, number][1]:
                free[node_id] = free[node_id].plus(self.held_by(job_id, number), slots)
        for job_id, places in self._good_claims():
            for place in places:
                for node_id, slots in place:
                    free[node_id] = free[node_id].plus(self.specs[job_id].requirement.resources, -slots)
        return free

    def _starts(self, event: e.TasksPlaced) -> None:
        """A job with a claim starts as many tasks there as there is room for; no other way uses the claim up."""
        places = self.claims.get(event.job_id)
        if places is None:
            return
        for placement in event.placements:
            for _ in range(size(placement.tasks)):
                if placement.nodes in places:
                    places.remove(placement.nodes)
                    self.honoured += 1
        if not places:
            del self.claims[event.job_id]

    def _claims_still_fit(self, event: Any) -> None:
        free = self._free_when_left()
        claimed = {node_id for _, places in self._good_claims() for place in places for node_id, _ in place}
        for node_id in sorted(claimed):
            assert _is_enough(free[node_id]), f"room claimed on {node_id} was given away: {event}"

    def _good_claims(self) -> list[tuple[str, Places]]:
        """Claims that can still be used: the cycle that finds a node of one out of work gives that up."""
        return [
            (job_id, places)
            for job_id, places in self.claims.items()
            if all(self.nodes[node_id].takes_work for place in places for node_id, _ in place)
        ]

    def _claim_released(self, event: e.ClaimReleased) -> None:
        places = self.claims.pop(event.job_id)
        if event.why.endswith("takes no work any more"):
            nodes = [self.nodes[node_id] for place in places for node_id, _ in place]
            assert any(node.draining or node.status != "online" for node in nodes), f"its nodes work: {event}"
        else:
            assert event.why in ("held", "paused", "unqueued", "cancelled"), f"a claim ended for nothing: {event}"

    def _tasks_stopped(self, event: e.TasksStopped) -> None:
        self.leaving -= {(event.job_id, end.attempt) for end in event.ends}
        if event.cause is StopCause.PREEMPTED:
            assert all(end.failure is not None for end in event.ends)


def _is_enough(free: Resources) -> bool:
    return not free.is_negative()


_SEES: dict[type[Event], Callable[[PreemptionReferee, Any], None]] = {
    PoliciesAdopted: PreemptionReferee._policies_adopted,
    e.JobSubmitted: PreemptionReferee._job_submitted,
    e.JobPriorityChanged: PreemptionReferee._job_priority_changed,
    e.JobProtectionChanged: PreemptionReferee._job_protection_changed,
    ClientProtectionChanged: PreemptionReferee._client_protection_changed,
    e.TasksStarted: PreemptionReferee._tasks_started,
    e.TaskCheckpointed: PreemptionReferee._task_checkpointed,
    e.TasksStopping: PreemptionReferee._tasks_stopping,
    e.TasksPreempted: PreemptionReferee._tasks_preempted,
    e.RoomClaimed: PreemptionReferee._room_claimed,
    e.ClaimReleased: PreemptionReferee._claim_released,
    e.TasksStopped: PreemptionReferee._tasks_stopped,
}
