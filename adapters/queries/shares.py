"""Questions about shares and partitions: who lends what to whom, which guarantees were broken, what partitions hold."""

from collections import Counter
from collections.abc import Sequence

from adapters.queries import past
from adapters.queries.answers.shares import (
    BreachLine,
    LoanLine,
    PartitionLine,
    PartitionsAnswer,
    ShareLine,
    SharesAnswer,
)
from adapters.queries.lines import plain, shared
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources
from domain.farm import Farm
from domain.indices.nodeindex import bits
from domain.indices.usage import fair_share
from domain.messages import ClientId
from domain.partition import Partition
from domain.policies.fairshare import charges_of, share_of
from domain.policies.sharing import in_force
from domain.rules import ledger
from domain.rules.ledger import Account, Loan, Pair, Stand
from domain.wording import need_text
from projections import shares
from projections.shares import BreachView, ShareView
from projections.story.partitions import terms_text


def show_shares(sources: Sources, *, at: str = "", client: str = "") -> SharesAnswer:
    """What clients are guaranteed, demand, use, lend and borrow, and the breaches of guarantees, now or at a time."""
    client_id = id_of(sources, Kind.CLIENT, client).id if client else ""
    if at:
        point = sources.point(at)
        farm = past.farm_at(sources.log, point)
        with sources.rows() as (connection, _):
            back = shares.reclaimed(connection, point.position)
            broken = shares.breaches(connection, client_id, point.position)
            open_ones = shares.standing(connection)
        return _answer(farm, ledger.accounts_of(farm), back, broken, open_ones, point.position, point.at_ms, client_id)
    with sources.rows() as (connection, position):
        back, broken = shares.reclaimed(connection), shares.breaches(connection, client_id)
        standing = shares.standing(connection)
        whole = shares.farm_shares(connection)
    with sources.present() as farm:
        capacity = (whole.millicores, whole.gpus)
        accounts = [_account(view, capacity) for view in standing]
        return _answer(farm, accounts, back, broken, standing, position, sources.clock.now_ms(), client_id)


def _account(view: ShareView, capacity: Pair) -> Account:
    """A row of the read model, as the ledger reads it."""
    used = (view.used_millicores, view.used_gpus)
    demanded = (used[0] + view.waiting_millicores, used[1] + view.waiting_gpus)
    guaranteed = ledger.guaranteed_part(capacity, view.guarantee_percent)
    return Account(view.client_id, guaranteed, demanded, used, view.lends)


def _answer(
    farm: Farm,
    accounts: Sequence[Account],
    back: dict[ClientId, Pair],
    broken: Sequence[BreachView],
    standing: Sequence[ShareView],
    position: int,
    at_ms: int,
    client_id: ClientId,
) -> SharesAnswer:
    capacity = ledger.capacity_of(farm)
    loans = [_loans(capacity, accounts, what) for what in (0, 1)]
    lending = in_force(farm.policies)
    chosen = [each for each in accounts if client_id in ("", each.client_id)]
    going_on = [
        BreachLine(
            client_id=view.client_id, opened=view.unmet_position or 0, opened_ms=view.unmet_ms, closed=None,
            closed_ms=None, lasted_ms=at_ms - view.unmet_ms, period_ms=lending.reclaim_period_s * 1000,
        )
        for view in standing
        if lending is not None
        and view.unmet_ms is not None
        and client_id in ("", view.client_id)
        and at_ms - view.unmet_ms > lending.reclaim_period_s * 1000
    ]  # fmt: skip
    return SharesAnswer(
        rows=[_line(farm, each, loans, back, at_ms) for each in chosen],
        breaches=[*going_on, *[_breach(view, at_ms) for view in broken if _is_breach(view, at_ms)]],
        capacity_millicores=capacity[0],
        capacity_gpus=capacity[1],
        guaranteed_percent=sum(each.shares.guarantee_percent for each in farm.clients.values()),
        sharing=farm.policies.sharing,
        period_ms=None if lending is None else lending.reclaim_period_s * 1000,
        position=position,
        at_ms=at_ms,
    )


def _is_breach(view: BreachView, at_ms: int) -> bool:
    """Whether it was one by then already; what had not yet lasted the period at a past moment was none."""
    return (at_ms if view.closed_ms is None else view.closed_ms) - view.opened_ms > view.period_ms


def _breach(view: BreachView, at_ms: int) -> BreachLine:
    until_ms = at_ms if view.closed_ms is None else view.closed_ms
    return shared(BreachLine, view, lasted_ms=until_ms - view.opened_ms)


def _loans(capacity: Pair, accounts: Sequence[Account], what: int) -> list[Loan]:
    """The loans of one resource: 0 for cores, 1 for GPUs."""
    stands = [Stand(each.client_id, each.guaranteed[what], each.used[what], each.lends) for each in accounts]
    return ledger.loans(capacity[what], stands)


def _line(farm: Farm, account: Account, loans: list[list[Loan]], back: dict[ClientId, Pair], at_ms: int) -> ShareLine:
    client_id = account.client_id
    known = farm.clients.get(client_id)
    lent = [[(loan.borrower, loan.amount) for loan in each if loan.lender == client_id] for each in loans]
    borrowed = [[(loan.lender, loan.amount) for loan in each if loan.borrower == client_id] for each in loans]
    reclaimed = back.get(client_id, (0, 0))
    return ShareLine(
        client_id=client_id,
        guarantee_percent=0 if known is None else known.shares.guarantee_percent,
        guaranteed_millicores=account.guaranteed[0],
        guaranteed_gpus=account.guaranteed[1],
        demanded_millicores=account.demanded[0],
        demanded_gpus=account.demanded[1],
        used_millicores=account.used[0],
        used_gpus=account.used[1],
        lent=_loan_lines(lent),
        borrowed=_loan_lines(borrowed),
        reclaimed_millicores=reclaimed[0],
        reclaimed_gpus=reclaimed[1],
        fair_share=_fair_share(farm, client_id, at_ms),
    )


def _loan_lines(parts: list[list[tuple[ClientId, int]]]) -> list[LoanLine]:
    """Cores and GPUs by the other client, each once."""
    sums: dict[ClientId, list[int]] = {}
    for what, found in enumerate(parts):
        for client_id, amount in found:
            sums.setdefault(client_id, [0, 0])[what] += amount
    return [LoanLine(client_id=key, millicores=sums[key][0], gpus=sums[key][1]) for key in sorted(sums)]


def _fair_share(farm: Farm, client_id: ClientId, at_ms: int) -> float | None:
    if farm.usage.half_life_ms is None:
        return None
    charges = charges_of(farm, at_ms)
    total = sum(charges.values())
    return fair_share(charges.get(client_id, 0.0) / total if total else 0.0, share_of(farm, client_id))


# -- partitions --------------------------------------------------------------------------------------------------


def list_partitions(sources: Sources, *, at: str = "") -> PartitionsAnswer:
    """Partitions by name: their terms, their nodes, and what is used of them, now or at a time."""
    if at:
        point = sources.point(at)
        farm = past.farm_at(sources.log, point)
        return PartitionsAnswer(rows=_partitions(farm), position=point.position, at_ms=point.at_ms)
    with sources.present() as farm:
        return PartitionsAnswer(rows=_partitions(farm), position=farm.position, at_ms=sources.clock.now_ms())


def _partitions(farm: Farm) -> list[PartitionLine]:
    live = Counter(job.spec.requirement.partition for job in farm.jobs.values())
    known = [farm.partitions[name] for name in sorted(farm.partitions)]
    return [_partition(farm, each, live[each.partition]) for each in known if not each.removed]


def _partition(farm: Farm, partition: Partition, live_jobs: int) -> PartitionLine:
    name, terms, index = partition.partition, partition.terms, farm.index
    numbers = list(bits(index.members(name)))
    uses = [use for (of, _), use in farm.use_in.items() if of == name]
    return PartitionLine(
        partition=name,
        named_nodes=list(terms.nodes),
        attributes=[need_text(need) for need in terms.attributes],
        needs=plain(terms.attributes),
        clients=list(terms.clients),
        max_tasks=terms.max_tasks,
        limit_percent=terms.limit_percent,
        client_percent=terms.client_percent,
        max_walltime_ms=terms.max_walltime_ms,
        default_walltime_ms=terms.default_walltime_ms,
        nodes=sorted([index.ids[number] for number in numbers]),
        capacity_millicores=sum([index.capacity[number].millicores for number in numbers]),
        capacity_gpus=sum([index.capacity[number].gpus for number in numbers]),
        running_tasks=sum([use.tasks for use in uses]),
        used_millicores=sum([use.millicores for use in uses]),
        used_gpus=sum([use.gpus for use in uses]),
        live_jobs=live_jobs,
        text=terms_text(terms),
    )
