"""Who lends to whom: worked out by hand, and exact for any numbers."""

from hypothesis import given
from hypothesis import strategies as st

from domain.rules.ledger import NOBODY, Account, Loan, Stand, accounts_of, apportioned, lent_by, loans
from tests.builders import client, farm, job, node, running


def test_what_nobody_is_guaranteed_is_used_first() -> None:
    """Of 100, 60 are guaranteed; the borrower holds 30 of the 40 that are nobody's."""
    stands = [Stand("film", 60, 0), Stand("show", 0, 30)]
    assert loans(100, stands) == [Loan(NOBODY, "show", 30)]


def test_then_lenders_give_in_proportion_to_what_they_leave_unused() -> None:
    """Excess 50, of which 20 are nobody's; 30 from lenders that leave 60 and 20 unused: 22.5 and 7.5, ties by id."""
    stands = [Stand("film", 60, 0), Stand("lab", 20, 0), Stand("show", 0, 50)]
    assert loans(100, stands) == [Loan(NOBODY, "show", 20), Loan("film", "show", 23), Loan("lab", "show", 7)]
    assert lent_by(100, stands) == {"film": 23, "lab": 7}


def test_several_borrowers_share_what_each_lender_gives_in_proportion_to_what_they_still_need() -> None:
    stands = [Stand("film", 100, 40), Stand("lab", 0, 20), Stand("show", 0, 40)]
    assert loans(100, stands) == [Loan("film", "lab", 20), Loan("film", "show", 40)]


def test_who_does_not_lend_is_drawn_on_only_where_nothing_else_covers_it() -> None:
    stands = [Stand("film", 50, 0, lends=False), Stand("lab", 50, 40), Stand("show", 0, 30)]
    assert loans(100, stands) == [Loan("lab", "show", 10), Loan("film", "show", 20)]


def test_what_the_farm_does_not_even_have_is_lent_by_nobody() -> None:
    assert loans(10, [Stand("show", 0, 30)]) == [Loan(NOBODY, "show", 10), Loan(NOBODY, "show", 20)]


def test_who_keeps_within_its_guarantee_borrows_nothing() -> None:
    assert loans(100, [Stand("film", 60, 60), Stand("show", 40, 10)]) == []


amounts = st.integers(0, 1_000)
stands = st.lists(st.tuples(amounts, amounts, st.booleans()), max_size=8).map(
    lambda rows: [Stand(f"c{at}", *row) for at, row in enumerate(rows)]
)


@given(st.integers(0, 5_000), stands)
def test_all_excess_is_covered_once_and_no_client_lends_more_than_it_leaves_unused(
    capacity: int, given_stands: list[Stand]
) -> None:
    found = loans(capacity, given_stands)
    for stand in given_stands:
        borrowed = sum(loan.amount for loan in found if loan.borrower == stand.client_id)
        lent = sum(loan.amount for loan in found if loan.lender == stand.client_id)
        assert borrowed == max(0, stand.used - stand.guaranteed)
        assert lent <= max(0, stand.guaranteed - stand.used)
        assert not (borrowed and lent)
    assert all(loan.amount > 0 for loan in found)
    assert found == loans(capacity, list(reversed(given_stands)))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 50), min_size=1), st.floats(0, 1))
def test_parts_add_up_and_stay_within_their_weights(weights: dict[str, int], part: float) -> None:
    amount = int(sum(weights.values()) * part)
    parts = apportioned(amount, weights)
    assert sum(parts.values()) == (amount if sum(weights.values()) else 0)
    total = sum(weights.values())
    assert all(abs(parts[key] - amount * weights[key] / total) < 1 for key in parts)
    assert all(parts[key] <= weights[key] for key in parts)


def test_accounts_say_what_clients_hold_and_what_they_would_hold_if_all_ran_that_may() -> None:
    jobs = [
        running(cores=2, client_id="show"),
        job(cores=1, client_id="show", tasks="1-3"),
        job(client_id="lab", held=True),
    ]
    made = farm([node(cores=8)], jobs, [client("show", guarantee_percent=25, lend=False), client("lab")])
    assert accounts_of(made) == [
        Account("lab", (0, 0), (0, 0), (0, 0), True),
        Account("show", (2_000, 0), (5_000, 0), (2_000, 0), False),
    ]
