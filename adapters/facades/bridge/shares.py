"""Guarantees of callers' owners as the shares of the core's clients."""

from math import ceil, floor

from adapters.facades.bridge import names
from adapters.facades.bridge.desk import Desk
from adapters.facades.bridge.jobs import Jobs, jobs_of
from domain.client import ChangeShares, RegisterClient, Shares
from domain.messages import MAX_NAME_CHARS


class Clients:
    """All owners that facades of one application have told the core of."""

    def __init__(self, desk: Desk, jobs: Jobs) -> None:
        self._desk, self._jobs = desk, jobs
        self._seen: dict[str, Shares] = {}

    def see(self, owner: str, guarantee_percent: float, limit_percent: float, actor: str) -> None:
        """Lays down what an owner may count on and may not exceed; guarantees are rounded down, limits up."""
        limit = max(0, min(100, ceil(limit_percent)))
        shares = Shares(max(0, min(limit, floor(guarantee_percent))), limit)
        client_id = names.client_id(owner)
        if owner not in self._seen:
            self._jobs.client_is_known(owner)
            if self._desk.is_new or client_id not in self._desk.present.farm.clients:
                self._desk.do(RegisterClient(client_id=client_id, name=owner[:MAX_NAME_CHARS]), actor)
        if self._seen.get(owner) != shares:
            self._desk.do(ChangeShares(client_id=client_id, shares=shares), actor)
            self._seen[owner] = shares


def clients_of(desk: Desk) -> Clients:
    """The owners of an application, the same for all its facades."""
    return desk.shared(Clients, lambda: Clients(desk, jobs_of(desk)))
