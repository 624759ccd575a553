"""What was booked is booked again when a log is run again: nothing is different under the same conditions."""

import pytest

from application.simulation.engine import Arrival
from application.simulation.whatif import what_if
from domain.job.commands import SubmitJob
from domain.reservation import CancelReservation, EndReservation, Owner, OwnerKind, Repetition
from tests.application.booked import BookedFarm
from tests.builders import HOUR, NOW, spec


def booked() -> BookedFarm:
    """Two weeks with daily maintenance, a client's window that was ended early, and one that was cancelled."""
    farm = BookedFarm(nodes=3)
    farm.book("n1", in_ms=HOUR, lasts_ms=2 * HOUR, repeat=Repetition(24 * HOUR, times=5))
    farm.book("n2", in_ms=2 * HOUR, lasts_ms=5 * HOUR, owner=Owner(OwnerKind.CLIENT, "show"), reservation_id="resv-2")
    farm.book("n3", in_ms=9 * HOUR, lasts_ms=5 * HOUR, reservation_id="resv-3")
    arrivals = [
        (
            number * HOUR // 2,
            SubmitJob(
                spec=spec(
                    f"job-{number}",
                    (1, 2, 4)[number % 3],
                    client_id=("default", "show")[number % 2],
                    walltime_ms=(1 + number % 7) * HOUR,
                    checkpoints=number % 5 == 0,
                )
            ),
        )
        for number in range(40)
    ]
    arrivals += [
        (4 * HOUR + 1, EndReservation(reservation_id="resv-2")),
        (5 * HOUR + 1, CancelReservation(reservation_id="resv-3")),
    ]
    farm.run(*[Arrival(NOW + at_ms, (command,)) for at_ms, command in sorted(arrivals, key=lambda each: each[0])])
    farm.check()
    return farm


@pytest.mark.parametrize("from_ms", [NOW - 1, NOW + 90 * 60_000, NOW + 3 * HOUR + 1])
def test_a_log_with_windows_runs_again_as_it_was(from_ms: int) -> None:
    farm = booked()
    end_ms = farm.log.read(farm.log.position() - 1, 1)[0].event.at_ms
    found = what_if(farm.log, from_ms, end_ms)
    assert [(each.job_id, each.recorded) for each in found.jobs if each.recorded != each.simulated] == []
    assert (found.recorded, found.moved, found.refused) == (found.simulated, 0, ())
