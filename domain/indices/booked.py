"""The reservations of a farm that are not over, and which nodes each has as a mask."""

from domain.indices.nodeindex import NodeIndex
from domain.messages import ReservationId
from domain.reservation import Reservation


class Booked(dict[ReservationId, Reservation]):
    """Live reservations by id. Masks are worked out once each: nodes keep their numbers, reservations their nodes."""

    def __init__(self) -> None:
        super().__init__()
        self._masks: dict[ReservationId, int] = {}

    def mask(self, reservation: Reservation, index: NodeIndex) -> int:
        """The nodes of a reservation."""
        known = self._masks.get(reservation.reservation_id)
        if known is None:
            known = sum([1 << index.numbers[node_id] for node_id in reservation.nodes if node_id in index.numbers])
            self._masks[reservation.reservation_id] = known
        return known

    def forget(self, reservation_id: ReservationId) -> None:
        """A reservation is over."""
        self.pop(reservation_id, None)
        self._masks.pop(reservation_id, None)
