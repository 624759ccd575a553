"""Whether a guarantee that is not honoured could be: by taking back what somebody has borrowed, on some node."""

from collections.abc import Iterator, Mapping

from domain.farm import Farm
from domain.indices.nodeindex import bits
from domain.job.values import Job
from domain.messages import ClientId, NodeId
from domain.policies import Context, made
from domain.resources import Resources
from tests.studies.guarantees import Client, Guarantees, Pair
from tests.studies.interruptions import Interruptions, Running


def is_owed(farm: Farm, guarantees: Guarantees, running: Interruptions, client_id: ClientId, period_ms: int) -> bool:
    """Whether a task waits for longer than a period within its client's guarantee, and borrowers hold room for it.

    Nobody is taken more from than it has borrowed, and nothing that a contract protects. What owners hold of their own
    guarantees is nobody's to take, and nobody is owed anything for whom others make way already.
    """
    excess = {key: _excess(client, guarantees.capacity) for key, client in guarantees.clients.items()}
    borrowed = _borrowed(running, client_id, excess)
    room = _excess(guarantees.clients[client_id], guarantees.capacity)
    for job in _waiting(farm, client_id, farm.now_ms - period_ms):
        within = all(need <= -left for need, left in zip(_need(job), room, strict=True) if need)
        if within and any(_fits(farm, node, job, borrowed.get(node, []), excess) for node in _nodes(farm, job)):
            return True
    return False


def _excess(client: Client, capacity: Pair) -> Pair:
    """What a client holds beyond its guarantee; negative where it holds less."""
    percent = client.shares.guarantee_percent
    return client.used[0] - capacity[0] * percent // 100, client.used[1] - capacity[1] * percent // 100


def _borrowed(running: Interruptions, owner: ClientId, excess: Mapping[ClientId, Pair]) -> dict[NodeId, list[Running]]:
    """Attempts of borrowers that no contract protects, by node."""
    found: dict[NodeId, list[Running]] = {}
    for each in running.live.values():
        client_id = each.spec.client_id
        if client_id != owner and max(excess[client_id]) > 0 and each.spec.protection is None:
            for node_id, _ in each.nodes:
                found.setdefault(node_id, []).append(each)
    return found


def _waiting(farm: Farm, client_id: ClientId, since_ms: int) -> Iterator[Job]:
    """The first job of each kind of a client that waits, if it came so early and nobody makes way for it."""
    for segment, line in farm.queue.lines.items():
        job = farm.jobs[line.first()[1]]
        if segment.client_id == client_id and job.submitted_ms < since_ms and job.claim is None:
            yield job


def _need(job: Job) -> Pair:
    resources, slots = job.spec.requirement.resources, job.spec.requirement.slots
    return resources.millicores * slots, resources.gpus * slots


def _nodes(farm: Farm, job: Job) -> list[NodeId]:
    """Those that a job may use."""
    objects, index = made(farm.policies), farm.index
    mask = index.capable(job.spec.requirement) & index.open_mask
    for rule in objects.filters:
        mask = rule.mask(job, mask, index, Context(farm, objects, farm.now_ms))
    return [index.ids[number] for number in bits(mask)]


def _fits(farm: Farm, node_id: NodeId, job: Job, borrowed: list[Running], excess: Mapping[ClientId, Pair]) -> bool:
    """Whether a task has room on a node once borrowers have left it, each as far as it has borrowed."""
    free: Resources = farm.index.free[farm.index.numbers[node_id]]
    left = dict(excess)
    for each in borrowed:
        resources, client_id = each.spec.requirement.resources, each.spec.client_id
        after = left[client_id][0] - resources.millicores, left[client_id][1] - resources.gpus
        if all(amount >= 0 for amount, need in zip(after, (resources.millicores, resources.gpus), strict=True) if need):
            left[client_id] = after
            free = free.plus(resources)
    return free.fits(job.spec.requirement.resources)
