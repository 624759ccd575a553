"""The ledger of shares: what clients demand and use, what came back, and which guarantees were not honoured."""

from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import Engine

from application.commands import AdoptPolicies
from domain.client import ChangeShares, Shares
from domain.job import commands as c
from domain.job.values import AttemptEnd
from domain.policies import Policies
from domain.policies.sharing import in_force
from domain.rules import ledger
from projections import shares
from projections.runner import ProjectionRunner
from projections.shares import BreachView, FarmShares
from projections.tables import open_views
from tests.application.desk import Desk
from tests.builders import HOUR, NOW
from tests.history import History, histories
from tests.projections.reading import Log, recorded, rows_of

MINUTE = 60_000
LENDING = Policies(sharing="lending", parameters={"sharing": {"reclaim_period_s": 600}})


class Ledger:
    """A desk with two nodes of four cores, on which film is guaranteed half, and its read model."""

    def __init__(self, policies: Policies = LENDING) -> None:
        self.desk = Desk()
        self.desk.nodes("n1", "n2", cores=4)
        self.desk.client("film", guarantee_percent=50)
        self.desk.client("show")
        self.desk.do(AdoptPolicies(policies=policies))
        self.engine = open_views("sqlite://")
        self.runner = ProjectionRunner(self.engine, self.desk.log.read, self.desk.log.position)

    def ask(self, question: Any, *args: Any) -> Any:
        self.runner.catch_up()
        with self.engine.begin() as connection:
            return question(connection, *args)

    def end(self, job_id: str, *numbers: int) -> None:
        live = self.desk.job(job_id).live
        ends = tuple(AttemptEnd(number, live[number].task) for number in numbers)
        self.desk.do(c.ReportEnded(job_id=job_id, ends=ends))


def test_use_and_demand_are_those_of_the_moment() -> None:
    books = Ledger()
    books.desk.submit("job-1", client_id="show", tasks="1-10", walltime_ms=5 * MINUTE)
    books.desk.cycle()
    rows = {row.client_id: row for row in books.ask(shares.standing)}
    show, film = rows["show"], rows["film"]
    assert (show.used_millicores, show.waiting_millicores, show.unmet_ms) == (8_000, 2_000, None)
    assert (film.guarantee_percent, film.used_millicores, film.waiting_millicores) == (50, 0, 0)
    assert books.ask(shares.farm_shares) == FarmShares(8_000, 0, 600_000)
    books.desk.do(c.HoldJob(job_id="job-1"))
    assert {row.client_id: row.waiting_millicores for row in books.ask(shares.standing)}["show"] == 0


def test_what_comes_back_while_its_owner_waits_for_it_is_reclaimed() -> None:
    """show holds 8 of 8, of which 4 are nobody's and 4 lent by film; what ends before film asks is nobody's loss."""
    books = Ledger()
    books.desk.submit("job-1", client_id="show", tasks="1-8", walltime_ms=5 * MINUTE)
    books.desk.cycle()
    books.end("job-1", 1)
    assert books.ask(shares.reclaimed) == {}
    books.desk.submit("job-2", client_id="film", tasks="1-8")
    books.end("job-1", 2, 3)
    position = books.desk.position
    assert books.ask(shares.reclaimed) == {"film": (2_000, 0)}
    books.desk.cycle()  # film starts 3 tasks and is still owed one, which show holds
    books.end("job-1", 4)
    books.end("job-1", 5)  # now show holds no more than what nobody is guaranteed
    assert books.ask(shares.reclaimed) == {"film": (3_000, 0)}
    assert books.ask(shares.reclaimed, position) == {"film": (2_000, 0)}
    assert books.ask(shares.reclaimed, 1) == {}


def blocked(books: Ledger, minutes: int) -> tuple[int, int]:
    """film waits for its guarantee for so long; the positions of the events that opened and closed that."""
    books.desk.submit("job-1", client_id="show", tasks="1-8", walltime_ms=600 * MINUTE)
    books.desk.do(c.HoldJob(job_id="job-1"))
    books.desk.submit("job-2", client_id="film")
    opened = books.desk.position
    books.desk.clock.advance(minutes * MINUTE)
    books.desk.cycle()
    closed = next(r.position for r in books.desk.recorded(after=opened) if r.stream == "job-2")
    return opened, closed


def test_a_guarantee_that_was_not_honoured_in_time_is_a_breach_with_the_events_behind_it() -> None:
    books = Ledger()
    opened, closed = blocked(books, 11)
    assert books.ask(shares.breaches) == [BreachView("film", opened, NOW, closed, NOW + 11 * MINUTE, 600_000)]
    assert books.ask(shares.breaches, "show") == []
    assert books.ask(shares.breaches, "", opened - 1) == []
    assert books.ask(shares.breaches, "film", closed - 1) == [BreachView("film", opened, NOW, None, None, 600_000)]


@pytest.mark.parametrize("minutes", [0, 10])
def test_who_was_served_within_the_period_suffered_none(minutes: int) -> None:
    books = Ledger()
    blocked(books, minutes)
    assert books.ask(shares.breaches) == []


def test_without_a_policy_that_keeps_guarantees_none_is_broken() -> None:
    books = Ledger(Policies(order="fifo"))
    blocked(books, 11)
    assert books.ask(shares.breaches) == []
    assert books.ask(shares.farm_shares) == FarmShares(8_000, 0, None)


def test_a_breach_that_goes_on_stands_with_its_client() -> None:
    books = Ledger()
    books.desk.submit("job-1", client_id="film")
    opened = books.desk.position
    film = next(row for row in books.ask(shares.standing) if row.client_id == "film")
    assert (film.unmet_position, film.unmet_ms) == (opened, NOW)
    books.desk.do(ChangeShares(client_id="film", shares=Shares(guarantee_percent=10)))
    film = next(row for row in books.ask(shares.standing) if row.client_id == "film")
    assert film.unmet_ms is None, "a core is more than 10 % of eight"


def test_another_policy_ends_what_is_open() -> None:
    books = Ledger()
    books.desk.submit("job-1", client_id="film")
    books.desk.clock.advance(HOUR)
    books.desk.do(AdoptPolicies(policies=Policies()))
    assert [row.unmet_ms for row in books.ask(shares.standing)] == [None, None]


@settings(max_examples=settings().max_examples // 2)
@given(history=histories(count=80))
def test_the_read_model_says_what_the_farm_says(history: History) -> None:
    log, engine = Log(recorded(history)), open_views("sqlite://")
    ProjectionRunner(engine, log.read, log.position).catch_up()
    with engine.begin() as connection:
        whole = shares.farm_shares(connection)
        rows = {row.client_id: row for row in shares.standing(connection)}
    farm = history.farm
    assert (whole.millicores, whole.gpus) == ledger.capacity_of(farm)
    lending = in_force(farm.policies)
    assert whole.period_ms == (None if lending is None else lending.reclaim_period_s * 1000)
    for account in ledger.accounts_of(farm):
        row = rows.pop(account.client_id)
        assert (row.used_millicores, row.used_gpus) == account.used, account.client_id
        demanded = (row.used_millicores + row.waiting_millicores, row.used_gpus + row.waiting_gpus)
        assert demanded == account.demanded, account.client_id
        assert row.lends is account.lends
    assert not any(row.used_millicores or row.waiting_millicores for row in rows.values())


def test_a_rebuild_gives_the_same_rows(engine: Engine) -> None:
    books = Ledger()
    blocked(books, 30)
    books.runner.catch_up()
    before = rows_of(books.engine, [shares.PROJECTION])
    books.runner.rebuild()
    assert rows_of(books.engine, [shares.PROJECTION]) == before
