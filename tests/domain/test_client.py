"""Clients: shares that make sense, one registration, and suspension."""

import pytest

from domain import client
from domain.client import Shares
from domain.errors import ClientInvalid, ClientNotFound
from tests.builders import NOW
from tests.spec import scenarios

given = scenarios(client)
ID = {"at_ms": NOW, "client_id": "show"}
registered = client.ClientRegistered(**ID, name="The Show")
suspended = client.ClientSuspended(**ID, why="unpaid")


def register(client_id: str = "show", name: str = "The Show", **shares: int | None) -> client.RegisterClient:
    return client.RegisterClient(client_id=client_id, name=name, shares=Shares(**shares))


def test_a_client_is_registered_once() -> None:
    after = given().when(register()).then(registered)
    assert (after.state.name, after.state.shares, after.state.suspended) == ("The Show", Shares(), False)
    after.when(register()).then_nothing()


def test_a_client_without_a_name_is_called_by_its_id() -> None:
    given().when(register(name="")).then(client.ClientRegistered(**ID, name="show"))


def test_registering_again_with_other_shares_is_refused_and_the_error_names_the_way() -> None:
    asked = given(registered).when(register(limit_percent=50))
    asked.then_raises(ClientInvalid, client_id="show")
    assert "milepost client set" in str(asked.refusal)


WRONG = [
    ({"guarantee_percent": -1}, "must be 0..100"),
    ({"limit_percent": 101}, "must be 0..100"),
    ({"guarantee_percent": 60, "limit_percent": 50}, "the guarantee not above the limit"),
    ({"max_tasks": 0}, "the task limit must be at least 1"),
    ({"borrow_percent": 101}, "it can borrow 0..100 % of the farm beyond its guarantee, not 101 %"),
    ({"borrow_percent": -1}, "it can borrow 0..100 %"),
]


@pytest.mark.parametrize(("shares", "problem"), WRONG)
def test_shares_that_make_no_sense_are_refused(shares: dict[str, int], problem: str) -> None:
    changed = client.ChangeShares(client_id="show", shares=Shares(**shares))
    for asked in (given().when(register(**shares)), given(registered).when(changed)):
        asked.then_raises(ClientInvalid, client_id="show")
        assert problem in str(asked.refusal)


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "-a", "x" * 121])
def test_a_client_has_a_plain_id(client_id: str) -> None:
    given().when(register(client_id)).then_raises(ClientInvalid, client_id=client_id)


@pytest.mark.parametrize(
    "shares", [{}, {"guarantee_percent": 100}, {"limit_percent": 0}, {"max_tasks": 1}, {"borrow_percent": 0}]
)
def test_shares_at_the_bounds_are_fine(shares: dict[str, int]) -> None:
    given().when(register(**shares)).then_kinds(client.ClientRegistered)


def test_shares_change_at_any_time() -> None:
    asked = client.ChangeShares(client_id="show", shares=Shares(limit_percent=30))
    after = given(registered).when(asked).then(client.ClientSharesChanged(**ID, shares=Shares(limit_percent=30)))
    assert after.state.shares.limit_percent == 30
    after.when(asked).then_nothing()


def test_terms_of_borrowing_and_lending_are_shares_like_others() -> None:
    shares = Shares(guarantee_percent=40, borrow=False, borrow_percent=20, lend=False)
    asked = client.ChangeShares(client_id="show", shares=shares, why="a quiet month")
    changed = client.ClientSharesChanged(**ID, shares=shares, why="a quiet month")
    given(registered).when(asked).then(changed).when(asked).then_nothing()


def test_a_client_can_be_suspended_and_reinstated() -> None:
    suspend, reinstate = (
        client.SuspendClient(client_id="show", why="unpaid"),
        client.ReinstateClient(client_id="show", why="paid"),
    )
    given(registered).when(reinstate).then_nothing()
    after = given(registered).when(suspend).then(suspended)
    assert after.state.suspended
    after.when(suspend).then_nothing()
    assert not after.when(reinstate).then(client.ClientReinstated(**ID, why="paid")).state.suspended


def test_a_change_of_shares_leaves_a_suspension_in_force() -> None:
    asked = client.ChangeShares(client_id="show", shares=Shares(limit_percent=30))
    assert given(registered, suspended).when(asked).then_kinds(client.ClientSharesChanged).state.suspended


@pytest.mark.parametrize(
    "command",
    [
        client.ChangeShares(client_id="show", shares=Shares()),
        client.SuspendClient(client_id="show"),
        client.ReinstateClient(client_id="show"),
    ],
)
def test_nothing_can_be_asked_of_a_client_that_is_not_registered(command: client.ClientCommand) -> None:
    given().when(command).then_raises(ClientNotFound, client_id="show")
