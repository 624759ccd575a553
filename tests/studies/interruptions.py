"""A book of interruptions, kept from the events of a run alone: who was interrupted for what, and what that cost."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from domain import intervals
from domain.client import ClientProtectionChanged
from domain.job import events as e
from domain.job.values import AttemptNumber, JobSpec, NodeSlots, PreemptionCause, Protection, StopCause
from domain.messages import ClientId, Event, JobId, Recorded

Key = tuple[JobId, AttemptNumber]
CORE_HOUR = 1_000 * 3_600_000
"""In millicores × ms."""


class Running(NamedTuple):
    """One live attempt."""

    spec: JobSpec
    task: int
    nodes: tuple[NodeSlots, ...]
    start_ms: int

    @property
    def millicores(self) -> int:
        """Of all its slots."""
        return self.spec.requirement.resources.millicores * self.spec.requirement.slots


class Claimed:
    """Room that somebody took from others: what it cost them, and what it spared him."""

    def __init__(self, event: e.RoomClaimed) -> None:
        self.at_ms, self.why, self.millicores = event.at_ms, event.why, event.millicores
        self.places = list(event.places)
        self.lost = 0
        """Work of the victims that was not saved, in millicores × ms."""
        self.spared = 0
        """Waiting that was spared, in the same unit; none where nobody could say when it would have ended."""
        self.waited_ms: list[int] = []
        """From the claim to the start on it."""

    @property
    def regret(self) -> int:
        """What was lost minus what was spared, in millicores × ms."""
        return self.lost - self.spared

    def starts(self, nodes: tuple[NodeSlots, ...], at_ms: int) -> None:
        """A task starts somewhere; on one of these places it uses that up."""
        for place in self.places:
            if place.nodes == nodes:
                self.places.remove(place)
                self.waited_ms.append(at_ms - self.at_ms)
                self.spared += max(0, (place.otherwise_ms or 0) - at_ms) * self.millicores
                return


class Interruptions:
    """Who was interrupted for what, under which contract, and what that cost."""

    def __init__(self, protect_longer_than_h: float = 168.0) -> None:
        self._longest_ms = protect_longer_than_h * 3_600_000
        self.specs: dict[JobId, JobSpec] = {}
        self.live: dict[Key, Running] = {}
        self._still_ms: dict[Key, int] = {}
        """How long attempts stood suspended, and since when they stand so now as a negative moment."""
        self._since_ms: dict[Key, int] = {}
        self._saved_ms: dict[Key, int] = {}
        """How long an attempt had run when it saved its state last."""
        self.contracts: dict[ClientId, Protection | None] = {}
        self.violations: list[str] = []
        """Interruptions against a contract."""
        self.stopped: dict[StopCause, int] = {}
        """Attempts told to end, by cause."""
        self.evacuated: dict[str, int] = {}
        """Of these, those sent away for a window, by contract."""
        self.preempted: dict[PreemptionCause, int] = {}
        self.lost: dict[str, int] = {}
        """Work that was not saved, by why its attempt ended, in millicores × ms."""
        self.claims: list[Claimed] = []
        self._open: dict[JobId, Claimed] = {}
        self._victims: dict[Key, Claimed] = {}

    def watch(self, recorded: Sequence[Recorded]) -> None:
        """Takes a commit in."""
        for each in recorded:
            take = _TAKES.get(type(each.event))
            if take is not None:
                take(self, each.event)

    @property
    def regret(self) -> float:
        """Of all claims, in core hours."""
        return sum(claim.regret for claim in self.claims) / CORE_HOUR

    def lost_h(self, *causes: str) -> float:
        """Core hours that were not saved when attempts ended for these reasons."""
        return sum(self.lost.get(cause, 0) for cause in causes) / CORE_HOUR

    # -- events --------------------------------------------------------------------------------------------------

    def _submitted(self, event: e.JobSubmitted) -> None:
        self.specs[event.spec.job_id] = event.spec

    def _protected(self, event: ClientProtectionChanged) -> None:
        self.contracts[event.client_id] = event.protection

    def _placed(self, event: e.TasksPlaced) -> None:
        spec, claim = self.specs[event.job_id], self._open.get(event.job_id)
        for placement in event.placements:
            for number, task in enumerate(intervals.members(placement.tasks), placement.first_attempt):
                self.live[event.job_id, number] = Running(spec, task, placement.nodes, event.at_ms)
                if claim is not None:
                    claim.starts(placement.nodes, event.at_ms)

    def _checkpointed(self, event: e.TaskCheckpointed) -> None:
        self._saved_ms[event.job_id, event.attempt] = event.ran_ms or 0

    def _claimed(self, event: e.RoomClaimed) -> None:
        claim = self._open[event.job_id] = Claimed(event)
        self.claims.append(claim)
        self._victims |= {(victim.job_id, victim.attempt): claim for victim in event.victims}

    def _preempted(self, event: e.TasksPreempted) -> None:
        self.preempted[event.why] = self.preempted.get(event.why, 0) + len(event.attempts)
        for each in event.attempts:
            self._judge((event.job_id, each.attempt), event.at_ms, StopCause.PREEMPTED)

    def _stopping(self, event: e.TasksStopping) -> None:
        self.stopped[event.cause] = self.stopped.get(event.cause, 0) + len(event.attempts)
        if event.cause is StopCause.EVACUATED:
            for number in event.attempts:
                self._judge((event.job_id, number), event.at_ms, event.cause)
                words = words_of(self._contract(self.specs[event.job_id]))
                self.evacuated[words] = self.evacuated.get(words, 0) + 1

    def _stopped(self, event: e.TasksStopped) -> None:
        for end in event.ends:
            self._gone((event.job_id, end.attempt), event.at_ms, event.cause)

    def _lost(self, event: e.TasksLost) -> None:
        for number in event.attempts:
            self._gone((event.job_id, number), event.at_ms, "lost")

    def _succeeded(self, event: e.TasksSucceeded) -> None:
        for end in event.ends:
            self._forget((event.job_id, end.attempt))

    def _suspended(self, event: e.TasksSuspended) -> None:
        for number in event.attempts:
            self._since_ms[event.job_id, number] = event.at_ms

    def _resumed(self, event: e.TasksResumed) -> None:
        for number in event.attempts:
            key = event.job_id, number
            self._still_ms[key] = self._still_ms.get(key, 0) + event.at_ms - self._since_ms.pop(key)

    # -- what follows --------------------------------------------------------------------------------------------

    def _contract(self, spec: JobSpec) -> Protection | None:
        return self.contracts.get(spec.client_id) if spec.protection is None else spec.protection

    def _judge(self, key: Key, at_ms: int, cause: StopCause) -> None:
        """Notes an interruption that the contract of an attempt forbids."""
        spec = self.live[key].spec
        contract, walltime_ms = self._contract(spec), spec.walltime_ms or 0
        if contract is None:
            if cause is StopCause.PREEMPTED and walltime_ms > self._longest_ms:
                self.violations.append(f"{key} asked for {walltime_ms} ms and made way")
            return
        too_early = contract.until_ms is not None and at_ms < contract.until_ms
        unsaved = contract.after_checkpoint and key not in self._saved_ms
        if contract.never or too_early or unsaved:
            self.violations.append(f"{key} was {cause} at {at_ms} against {contract}")

    def _gone(self, key: Key, at_ms: int, why: str) -> None:
        """An attempt ended before its work was done."""
        running = self.live[key]
        upto_ms = self._since_ms.get(key, at_ms)
        ran_ms = upto_ms - running.start_ms - self._still_ms.get(key, 0)
        unsaved = max(0, ran_ms - self._saved_ms.get(key, 0)) * running.millicores
        self.lost[why] = self.lost.get(why, 0) + unsaved
        if key in self._victims:
            self._victims[key].lost += unsaved
        self._forget(key)

    def _forget(self, key: Key) -> None:
        del self.live[key]
        for notes in (self._saved_ms, self._still_ms, self._since_ms, self._victims):
            notes.pop(key, None)


def words_of(contract: Protection | None) -> str:
    """A contract in a word or two."""
    if contract is None:
        return "none"
    if contract.never:
        return "never"
    if contract.until_ms is not None:
        return "until"
    return "after a checkpoint" if contract.after_checkpoint else "whenever"


_TAKES: dict[type[Event], Callable[[Interruptions, Any], None]] = {
    ClientProtectionChanged: Interruptions._protected,
    e.JobSubmitted: Interruptions._submitted,
    e.TasksPlaced: Interruptions._placed,
    e.TaskCheckpointed: Interruptions._checkpointed,
    e.RoomClaimed: Interruptions._claimed,
    e.TasksPreempted: Interruptions._preempted,
    e.TasksStopping: Interruptions._stopping,
    e.TasksStopped: Interruptions._stopped,
    e.TasksLost: Interruptions._lost,
    e.TasksSucceeded: Interruptions._succeeded,
    e.TasksSuspended: Interruptions._suspended,
    e.TasksResumed: Interruptions._resumed,
}
