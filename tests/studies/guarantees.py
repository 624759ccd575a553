"""A book of shares, kept from the events of a run alone: whose guarantee is not honoured, and who holds too much."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from domain import intervals
from domain.client import ClientRegistered, ClientSharesChanged, Shares
from domain.job import events as e
from domain.job.values import AttemptNumber, JobSpec
from domain.messages import ClientId, Event, JobId, Recorded
from domain.node import NodeRegistered

Key = tuple[JobId, AttemptNumber]
Pair = tuple[int, int]
"""Millicores and GPUs."""


class Unmet(NamedTuple):
    """A time in which a task waited that its client's guarantee had room for."""

    client_id: ClientId
    opened: int
    opened_ms: int
    closed: int
    closed_ms: int

    @property
    def lasted_ms(self) -> int:
        """From its first event to its last."""
        return self.closed_ms - self.opened_ms


class Client:
    """How one client stands."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.used: Pair = (0, 0)
        self.waits: dict[Pair, int] = {}
        """Waiting tasks by what one of them takes."""
        self.since: tuple[int, int] | None = None
        """Position and time since when it is unmet."""

    def unmet(self, capacity: Pair) -> bool:
        """Whether a waiting task would stay within the guarantee, judged by what it asks for."""
        if not self.shares.guarantee_percent:
            return False
        left = [
            whole * self.shares.guarantee_percent // 100 - used for whole, used in zip(capacity, self.used, strict=True)
        ]
        return any(
            tasks and any(need) and all(n <= room for n, room in zip(need, left, strict=True) if n)
            for need, tasks in self.waits.items()
        )


class Guarantees:
    """Who waits for his guarantee since when, and who holds more than he may."""

    def __init__(self, borrowing: bool) -> None:
        """`borrowing` says whether terms of borrowing are in force."""
        self._borrowing = borrowing
        self.capacity: Pair = (0, 0)
        self.clients: dict[ClientId, Client] = {}
        self.unmet: list[Unmet] = []
        self.over_limit, self.over_borrowed = 0, 0
        """Events after which a client held more than its limit, or had borrowed more than its terms allow."""
        self._specs: dict[JobId, JobSpec] = {}
        self._suspended: set[Key] = set()
        self._last: tuple[int, int] = (0, 0)

    def watch(self, recorded: Sequence[Recorded]) -> None:
        """Takes a commit in."""
        for position, _, _, event, _ in recorded:
            take = _FOLLOWS.get(type(event))
            if take is None:
                continue
            self._last = position, event.at_ms
            client_id = take(self, event)
            for known in self.clients if client_id is None else (client_id,):
                self._look_at(known)

    def settle(self) -> None:
        """The run is over."""
        for client_id in self.clients:
            self._close(client_id)

    def longest_ms(self) -> int:
        """The longest time for which a client with demand was without its guarantee."""
        return max([each.lasted_ms for each in self.unmet], default=0)

    def breaches(self, period_ms: int) -> list[Unmet]:
        """Those that lasted longer than a reclaim period."""
        return [each for each in self.unmet if each.lasted_ms > period_ms]

    # -- events: each says whose standing has changed, None for everybody's --------------------------------------

    def _node(self, event: NodeRegistered) -> None:
        self.capacity = self.capacity[0] + event.capacity.millicores, self.capacity[1] + event.capacity.gpus

    def _client(self, event: ClientRegistered | ClientSharesChanged) -> ClientId:
        known = self.clients.get(event.client_id)
        if known is None:
            self.clients[event.client_id] = Client(event.shares)
        else:
            known.shares = event.shares
        return event.client_id

    def _submitted(self, event: e.JobSubmitted) -> ClientId:
        self._specs[event.spec.job_id] = event.spec
        return self._wait(event.spec.job_id, intervals.size(event.spec.tasks))

    def _placed(self, event: e.TasksPlaced) -> ClientId:
        tasks = sum(intervals.size(placement.tasks) for placement in event.placements)
        self._hold(event.job_id, tasks, tasks)
        self._check(self._specs[event.job_id].client_id)
        return self._wait(event.job_id, -tasks)

    def _ended(self, event: e.TasksSucceeded | e.TasksStopped | e.TasksFailed) -> ClientId:
        return self._free(event.job_id, [end.attempt for end in event.ends])

    def _lost(self, event: e.TasksLost) -> ClientId:
        return self._free(event.job_id, event.attempts)

    def _requeued(self, event: e.TasksRequeued) -> ClientId:
        return self._wait(event.job_id, intervals.size(event.tasks))

    def _moved(self, event: e.TasksSuspended | e.TasksResumed) -> ClientId:
        """Who stands still holds everything but cores."""
        suspended = isinstance(event, e.TasksSuspended)
        keys = {(event.job_id, number) for number in event.attempts}
        self._suspended = self._suspended | keys if suspended else self._suspended - keys
        self._hold(event.job_id, -len(keys) if suspended else len(keys), 0)
        client_id = self._specs[event.job_id].client_id
        self._check(client_id)
        return client_id

    # -- what follows --------------------------------------------------------------------------------------------

    def _need(self, job_id: JobId) -> tuple[Client, Pair]:
        spec = self._specs[job_id]
        resources, slots = spec.requirement.resources, spec.requirement.slots
        return self.clients[spec.client_id], (resources.millicores * slots, resources.gpus * slots)

    def _wait(self, job_id: JobId, tasks: int) -> ClientId:
        client, need = self._need(job_id)
        client.waits[need] = client.waits.get(need, 0) + tasks
        assert client.waits[need] >= 0, f"{job_id} started more tasks than it has"
        return self._specs[job_id].client_id

    def _hold(self, job_id: JobId, with_cores: int, with_gpus: int) -> None:
        client, need = self._need(job_id)
        client.used = client.used[0] + need[0] * with_cores, client.used[1] + need[1] * with_gpus

    def _free(self, job_id: JobId, numbers: Sequence[AttemptNumber]) -> ClientId:
        still = self._suspended & {(job_id, number) for number in numbers}
        self._suspended -= still
        self._hold(job_id, len(still) - len(numbers), -len(numbers))
        return self._specs[job_id].client_id

    def _check(self, client_id: ClientId) -> None:
        client = self.clients[client_id]
        shares = client.shares
        most = shares.guarantee_percent + (shares.borrow_percent if shares.borrow else 0)
        for whole, used in zip(self.capacity, client.used, strict=True):
            self.over_limit += used * 100 > whole * shares.limit_percent
            self.over_borrowed += self._borrowing and used * 100 > whole * most

    def _look_at(self, client_id: ClientId) -> None:
        client = self.clients[client_id]
        if not client.unmet(self.capacity):
            self._close(client_id)
        elif client.since is None:
            client.since = self._last

    def _close(self, client_id: ClientId) -> None:
        client = self.clients[client_id]
        if client.since is not None:
            if self._last[1] > client.since[1]:
                self.unmet.append(Unmet(client_id, *client.since, *self._last))
            client.since = None


_FOLLOWS: dict[type[Event], Callable[[Guarantees, Any], ClientId | None]] = {
    NodeRegistered: Guarantees._node,
    ClientRegistered: Guarantees._client,
    ClientSharesChanged: Guarantees._client,
    e.JobSubmitted: Guarantees._submitted,
    e.TasksPlaced: Guarantees._placed,
    e.TasksSucceeded: Guarantees._ended,
    e.TasksFailed: Guarantees._ended,
    e.TasksStopped: Guarantees._ended,
    e.TasksLost: Guarantees._lost,
    e.TasksRequeued: Guarantees._requeued,
    e.TasksSuspended: Guarantees._moved,
    e.TasksResumed: Guarantees._moved,
}
