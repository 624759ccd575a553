"""How much more a client may use: its limit in percent of the farm, and its limit of running tasks."""

from functools import cached_property

from domain.decisions import Reason, ReasonCode
from domain.farm import Farm
from domain.farm_snapshot import ClientUse
from domain.messages import ClientId
from domain.resources import Requirement


class Limits:
    """What clients hold within one cycle, tentative placements included."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._use: dict[ClientId, ClientUse] = {}
        self._concern: dict[ClientId, bool] = {}

    @cached_property
    def _capacity(self) -> tuple[int, int]:
        """Millicores and GPUs of the farm, of which limits are a share; summed up only if there are limits."""
        live = [node.capacity for node in self._farm.nodes.values() if not node.retired]
        return sum(capacity.millicores for capacity in live), sum(capacity.gpus for capacity in live)

    def concern(self, client_id: ClientId) -> bool:
        """Whether anything but resources could keep this client's tasks from starting."""
        known = self._concern.get(client_id)
        if known is None:
            known = self._concern[client_id] = self._is_limited(client_id)
        return known

    def _is_limited(self, client_id: ClientId) -> bool:
        client = self._farm.clients.get(client_id)
        if client is None:
            return False
        return client.suspended or client.shares.max_tasks is not None or client.shares.limit_percent < 100

    def use(self, client_id: ClientId) -> ClientUse:
        """What a client holds by now."""
        use = self._use.get(client_id)
        if use is None:
            known = self._farm.use.get(client_id)
            use = self._use[client_id] = known.copy() if known else ClientUse()
        return use

    def allows(self, client_id: ClientId, requirement: Requirement) -> int | None:
        """How many more tasks of this requirement may start; None means as many as fit."""
        client = self._farm.clients.get(client_id)
        if client is None:
            return None
        if client.suspended:
            return 0
        rooms = [room // need for _, need, room in self._rooms(client_id, requirement) if need > 0]
        return min(rooms) if rooms else None

    def _rooms(self, client_id: ClientId, requirement: Requirement) -> list[tuple[str, int, int]]:
        """(what, needed by one task, left within the limit) for every limit that applies."""
        shares, use = self._farm.clients[client_id].shares, self.use(client_id)
        rooms = []
        if shares.max_tasks is not None:
            rooms.append(("tasks", 1, shares.max_tasks - use.tasks))
        if shares.limit_percent < 100:
            per_slot, slots, percent = requirement.resources, requirement.slots, shares.limit_percent
            millicores, gpus = self._capacity
            rooms.append(("millicores", per_slot.millicores * slots, millicores * percent // 100 - use.millicores))
            rooms.append(("gpus", per_slot.gpus * slots, gpus * percent // 100 - use.gpus))
        return rooms

    def take(self, client_id: ClientId, requirement: Requirement, tasks: int) -> None:
        """Counts a tentative placement."""
        self.use(client_id).add(requirement.resources, requirement.slots, tasks)

    def reason(self, client_id: ClientId, requirement: Requirement) -> Reason:
        """Which limit stops the client, with its numbers."""
        if self._farm.clients[client_id].suspended:
            return Reason(ReasonCode.CLIENT_SUSPENDED, entity=client_id)
        what, need, left = min(
            (room for room in self._rooms(client_id, requirement) if room[1] > 0),
            key=lambda room: room[2] // room[1],
        )
        return Reason(ReasonCode.CLIENT_LIMIT, entity=client_id, resource=what, needed=need, available=max(0, left))
