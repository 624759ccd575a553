"""When a supervisor must give up its attempts: cut off from a server that lives, for as long as the lease.

A living server requeues the attempts of a node it has not heard of for a lease and a margin, so they have to be over
by then. While no server lives nobody requeues anything, and everything goes on; a server that was just started gets a
whole lease to say hello.
"""

from collections.abc import Callable


class Lease:
    """Watches how long a living server has been silent. Times in seconds of one monotonic clock."""

    def __init__(
        self, server_lives: Callable[[], bool], lease_s: float | None = None, silent_since_s: float | None = None
    ) -> None:
        self._server_lives = server_lives
        self.lease_s = lease_s
        """What the last server wanted the lease to be; None before the first."""
        self.silent_since_s = silent_since_s
        """Since when a server has been alive without being heard; None while none is known to be."""
        self._connected = False

    @property
    def check_every_s(self) -> float:
        """How often to ask `is_over`: often enough to notice that one server went and another came."""
        return 0.25 if self.lease_s is None else min(0.25, self.lease_s / 4)

    def renew(self, now_s: float, lease_s: float | None = None) -> None:
        """The server was heard; `lease_s` is what it wants the lease to be from now on."""
        self.lease_s = self.lease_s if lease_s is None else lease_s
        self._connected = True
        self.silent_since_s = now_s

    def disconnect(self, now_s: float) -> None:
        """The connection broke: if the server died of it, the next one has a lease of its own."""
        self._connected = False
        self.silent_since_s = now_s if self._server_lives() else None

    def is_over(self, now_s: float) -> bool:
        """Whether the attempts must end now."""
        if self.lease_s is None:
            return False
        if self._connected and not self._is_overdue(now_s):
            return False
        if not self._server_lives():
            self.silent_since_s = None
            return False
        if self.silent_since_s is None:
            self.silent_since_s = now_s
        return self._is_overdue(now_s)

    def _is_overdue(self, now_s: float) -> bool:
        since_s = self.silent_since_s
        return since_s is not None and self.lease_s is not None and now_s - since_s >= self.lease_s
