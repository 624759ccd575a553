"""Questions about the farm as a whole: status, nodes, workflows, clients, utilization."""

from collections import Counter
from importlib import metadata

from adapters.queries import past
from adapters.queries.answers import (
    ClientLine,
    ClientsAnswer,
    ClientUseAnswer,
    CurvePoint,
    NodeLine,
    NodesAnswer,
    NodeUseAnswer,
    ServerLine,
    StatusAnswer,
    UtilizationAnswer,
    WorkflowAnswer,
    WorkflowsAnswer,
)
from adapters.queries.lines import dependency_answer, job_line, node_line, shared, workflow_line
from adapters.queries.reservations import booked_on
from adapters.queries.resolve import Kind, id_of
from adapters.queries.sources import Sources, rows_wanted
from adapters.web.serverfile import read_server_file
from domain import errors
from domain.farm import Farm
from domain.farm_snapshot import ClientUse
from domain.messages import ClientId, NodeId
from domain.node import NodeStatus
from domain.resources import NOTHING
from projections import nodes, queue, utilization
from projections.queue import JobFilter, JobOrder

MAX_WORKFLOW_JOBS = 10_000
CURVE_POINTS = 60


def show_status(sources: Sources) -> StatusAnswer:
    """How the farm stands: jobs and nodes by status, how far log and read models have come, which server runs."""
    with sources.rows() as (connection, view_position):
        jobs = queue.jobs_by_status(connection)
        all_nodes = nodes.list_nodes(connection)
    by_status = Counter(node.status for node in all_nodes)
    position, at_ms = sources.now()
    return StatusAnswer(
        version=version(),
        data_dir=str(sources.data_dir),
        position=position,
        view_position=view_position,
        lag=max(0, position - view_position),
        at_ms=at_ms,
        jobs=jobs,
        nodes={status: by_status[status] for status in NodeStatus},
        live_attempts=sum(node.attempts for node in all_nodes),
        server=_server(sources),
    )


def _server(sources: Sources) -> ServerLine | None:
    found = read_server_file(sources.data_dir)
    return None if found is None else shared(ServerLine, found)


def version() -> str:
    """The version of this installation."""
    try:
        return metadata.version("milepost")
    except metadata.PackageNotFoundError:
        return "0+unknown"


# -- nodes -------------------------------------------------------------------------------------------------------


def list_nodes(sources: Sources, *, all: bool = False, at: str = "") -> NodesAnswer:
    """Nodes by id with what is used of them; with `all` also those that have left the farm."""
    if at:
        point = sources.point(at)
        farm = past.farm_at(sources.log, point)
        rows = [_past_line(farm, node_id) for node_id in sorted(farm.nodes) if all or not farm.nodes[node_id].retired]
        return NodesAnswer(rows=rows, position=point.position, at_ms=point.at_ms)
    with sources.rows() as (connection, position):
        views = nodes.list_nodes(connection, retired=all)
    with sources.present() as farm:
        partitions = tuple(farm.partitions.values())
        booked = booked_on(farm.reservations.values())
    rows = [node_line(view, view.used, view.attempts, partitions, booked.get(view.node_id, [])) for view in views]
    return NodesAnswer(rows=rows, position=position, at_ms=sources.clock.now_ms())


def _past_line(farm: Farm, node_id: NodeId) -> NodeLine:
    attempts = farm.attempts_on(node_id)
    used = NOTHING
    for job_id, number in attempts:
        job = farm.jobs[job_id]
        slots = dict(job.live[number].nodes)[node_id]
        used = used.plus(job.spec.requirement.resources, slots)
    booked = booked_on(each for each in farm.reservations.values() if node_id in each.nodes)
    return node_line(farm.nodes[node_id], used, len(attempts), farm.partitions.values(), booked.get(node_id, []))


# -- workflows ---------------------------------------------------------------------------------------------------


def list_workflows(
    sources: Sources, *, all: bool = False, client: str = "", limit: int = 100, offset: int = 0
) -> WorkflowsAnswer:
    """Workflows that have not ended (with `all` the others too, archived ones left out), newest first."""
    with sources.rows() as (connection, position):
        views = queue.list_workflows(
            connection, client or None, ended=all, limit=rows_wanted(limit, offset, least=0), offset=offset
        )
    rows = [workflow_line(view) for view in views]
    return WorkflowsAnswer(rows=rows, position=position, at_ms=sources.clock.now_ms())


def show_workflow(sources: Sources, id: str) -> WorkflowAnswer:
    """One workflow with its jobs in the order of their submission, and the edges between them."""
    workflow_id, now_ms = id_of(sources, Kind.WORKFLOW, id).id, sources.clock.now_ms()
    with sources.rows() as (connection, position):
        view = queue.workflow(connection, workflow_id)
        which = JobFilter(all=True, workflow_id=workflow_id)
        jobs = queue.list_jobs(connection, which, JobOrder.OLDEST, MAX_WORKFLOW_JOBS, now_ms=now_ms)
        edges = queue.dependencies_of(connection, [job.job_id for job in jobs])
    if view is None:
        raise errors.StoreError(f"the read models do not show workflow {workflow_id!r} yet; ask again")
    return WorkflowAnswer(
        workflow=workflow_line(view),
        jobs=[job_line(job, job.blockers) for job in jobs],
        dependencies=[dependency_answer(edge) for edge in edges],
        position=position,
        at_ms=now_ms,
    )


# -- clients -----------------------------------------------------------------------------------------------------


def list_clients(sources: Sources) -> ClientsAnswer:
    """Clients by id: what they may use and what they use now."""
    with sources.present() as farm:
        live = Counter(job.spec.client_id for job in farm.jobs.values())
        rows = [_client_line(farm, client_id, live[client_id]) for client_id in sorted(farm.clients)]
        position = farm.position
    return ClientsAnswer(rows=rows, position=position, at_ms=sources.clock.now_ms())


def _client_line(farm: Farm, client_id: ClientId, live_jobs: int) -> ClientLine:
    client, use = farm.clients[client_id], farm.use.get(client_id) or ClientUse()
    return ClientLine(
        client_id=client_id,
        name=client.name,
        suspended=client.suspended,
        guarantee_percent=client.shares.guarantee_percent,
        limit_percent=client.shares.limit_percent,
        max_tasks=client.shares.max_tasks,
        tier=client.shares.tier,
        borrow=client.shares.borrow,
        borrow_percent=client.shares.borrow_percent,
        lend=client.shares.lend,
        running_tasks=use.tasks,
        used_millicores=use.millicores,
        used_gpus=use.gpus,
        live_jobs=live_jobs,
    )


# -- utilization -------------------------------------------------------------------------------------------------


def show_utilization(sources: Sources, *, since: str = "", until: str = "") -> UtilizationAnswer:
    """How much of the farm was used, by whom and where, between two moments: from the first event until now."""
    to_ms = sources.time_ms(until) if until else sources.clock.now_ms()
    from_ms = sources.time_ms(since) if since else min(sources.first_ms(to_ms), to_ms - 1)
    with sources.rows() as (connection, position):
        use = utilization.utilization(connection, from_ms, to_ms)
        curve = utilization.history(connection, from_ms, to_ms, CURVE_POINTS)
    return shared(
        UtilizationAnswer,
        use,
        percent=round(use.core_percent or 0.0, 1),
        clients=[shared(ClientUseAnswer, each) for each in use.clients],
        nodes=[shared(NodeUseAnswer, each) for each in use.nodes],
        curve=[shared(CurvePoint, each) for each in curve],
        position=position,
    )
