"""The manager of a render farm: clients, nodes and jobs of a caller, on an event-sourced core.

Objects are the caller's and stay so: they are stored by reference, read as the caller left them, and written to. What
a call changes, and what the caller changed before it, is recorded in the log of the application behind (`app`).
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from render_farm_manager.core import completion, failures, status
from render_farm_manager.core.cycle import Cycle, nothing_done
from render_farm_manager.core.graph import on_a_cycle_with
from render_farm_manager.core.models import (
    Client,
    EnergyMode,
    JobPriority,
    PerformanceMetrics,
    ProgressiveOutputConfig,
    RenderJob,
    RenderJobStatus,
    RenderNode,
    ResourceAllocation,
)
from render_farm_manager.core.recording import Recorder
from render_farm_manager.core.rules import promotion
from render_farm_manager.core.telling import Telling
from render_farm_manager.energy_optimization.energy_optimizer import EnergyOptimizer
from render_farm_manager.node_specialization.specialization_manager import NodeSpecializationManager
from render_farm_manager.progressive_result.progressive_renderer import ProgressiveRenderer
from render_farm_manager.resource_management.resource_partitioner import ResourcePartitioner
from render_farm_manager.scheduling.deadline_scheduler import DeadlineScheduler
from render_farm_manager.utils.logging import AuditLogger, PerformanceMonitor

if TYPE_CHECKING:
    from application.app import Application
    from render_farm_manager.core.interfaces import (
        EnergyOptimizationInterface,
        NodeSpecializationInterface,
        ProgressiveResultInterface,
        ResourceManagerInterface,
        SchedulerInterface,
    )

__all__ = ["RenderFarmManager"]


class RenderFarmManager(Telling):
    """Runs a farm: takes jobs of clients, places them on nodes, and follows them to their ends."""

    def __init__(
        self,
        scheduler: "SchedulerInterface | None" = None,
        resource_manager: "ResourceManagerInterface | None" = None,
        node_specializer: "NodeSpecializationInterface | None" = None,
        progressive_renderer: "ProgressiveResultInterface | None" = None,
        energy_optimizer: "EnergyOptimizationInterface | None" = None,
        audit_logger: AuditLogger | None = None,
        performance_monitor: PerformanceMonitor | None = None,
        *,
        app: "Application | None" = None,
    ) -> None:
        """With `app`, what is recorded is committed there at the end of every call, and what it knows is read back."""
        self._recorder = Recorder(app)
        self.audit_logger: Any = audit_logger or AuditLogger()
        self.performance_monitor: Any = performance_monitor or PerformanceMonitor(self.audit_logger)
        parts = self.audit_logger, self.performance_monitor
        self.scheduler: Any = scheduler or self._own(DeadlineScheduler(*parts))
        self.resource_manager: Any = resource_manager or ResourcePartitioner(*parts)
        self.node_specializer: Any = node_specializer or NodeSpecializationManager(*parts)
        self.progressive_renderer: Any = progressive_renderer or self._own(ProgressiveRenderer(*parts))
        self.energy_optimizer: Any = energy_optimizer or self._own(EnergyOptimizer(*parts))
        self.clients: dict[str, Client] = {}
        self.nodes: dict[str, RenderNode] = {}
        self.jobs: dict[str, RenderJob] = {}
        self.resource_allocations: dict[str, ResourceAllocation] = {}
        self.performance_metrics = PerformanceMetrics()
        self.progressive_output_config = ProgressiveOutputConfig()
        self._recorder.open(self)
        self._log("farm_manager_initialized", "The render farm manager is ready")

    def _own(self, part: Any) -> Any:
        """A part that reads the clock of this manager."""
        part._clock = self._recorder.now
        return part

    def _now(self) -> datetime:
        return self._recorder.now()

    @property
    def app(self) -> "Application":
        """The application behind, with everything in its log that happened so far."""
        return self._recorder.app

    # -- clients -------------------------------------------------------------------------------------------------

    def add_client(self, client: Client) -> None:
        """Makes a client known."""
        self.clients[client.id] = client
        tier = client.sla_tier
        self._log(
            "client_added",
            f"Client {client.name} was added",
            client_id=client.id,
            client_name=client.name,
            sla_tier=tier,
        )
        self._typed("log_client_added", client_id=client.id, name=client.name, service_tier=tier)
        self._recorder.client(client)
        self._recorder.done()

    def update_client_tier(self, client_id: str, new_tier: str) -> bool:
        """Tells that a client goes to another tier; False if it is unknown. Quirk: its tier stays as it is."""
        client = self.clients.get(client_id)
        if client is None:
            return False
        tiers = {"old_tier": client.sla_tier, "new_tier": new_tier}
        self._log(
            "client_updated",
            f"Client {client.name} goes from {client.sla_tier} to {new_tier}",
            client_id=client_id,
            client_name=client.name,
            **tiers,
        )
        self._typed("log_client_updated", client_id=client_id, name=client.name, **tiers)
        self._recorder.client(client, f"it goes to tier {new_tier}")
        self._recorder.done()
        return True

    def remove_client(self, client_id: str) -> Client | None:
        """Forgets a client; its jobs stay."""
        client = self.clients.pop(client_id, None)
        if client is not None:
            self._log(
                "client_removed",
                f"Client {client.name} was removed",
                client_id=client_id,
                client_name=client.name,
            )
            self._recorder.gone("client", client_id)
            self._recorder.done()
        return client

    # -- nodes ---------------------------------------------------------------------------------------------------

    def add_node(self, node: RenderNode) -> None:
        """Makes a node known, in the place of one with the same id."""
        self.nodes[node.id] = node
        has = node.capabilities.model_dump()
        self._log(
            "node_added",
            f"Node {node.name} was added",
            node_id=node.id,
            node_name=node.name,
            node_status=node.status,
            node_capabilities=has,
        )
        self._typed("log_node_added", node_id=node.id, name=node.name, status=node.status, capabilities=has)
        self._recorder.node(node)
        self._recorder.done()

    def set_node_online(self, node_id: str, online: bool = True) -> bool:
        """Sets a node's status, whatever it runs; False if it is unknown."""
        node = self.nodes.get(node_id)
        if node is None:
            return False
        self._recorder.look_at(node=node)
        old, node.status = node.status, "online" if online else "offline"
        statuses = {"old_status": old, "new_status": node.status}
        self._log(
            "node_updated",
            f"Node {node.name} went from {old} to {node.status}",
            node_id=node_id,
            node_name=node.name,
            **statuses,
        )
        self._typed("log_node_updated", node_id=node_id, name=node.name, **statuses)
        self._recorder.node(node)
        self._recorder.done()
        return True

    def remove_node(self, node_id: str) -> RenderNode | None:
        """Forgets a node; its job stays as it is."""
        node = self.nodes.pop(node_id, None)
        if node is not None:
            self._log("node_removed", f"Node {node.name} was removed", node_id=node_id, node_name=node.name)
            self._recorder.gone("node", node_id)
            self._recorder.done()
        return node

    def report_node_status(self, node_id: str, status: str, error: str | None = None) -> bool:
        """A node has another status; one that is no longer online loses its job. False if it is unknown."""
        return failures.report_status(self, node_id, status, error)

    def handle_node_failure(self, node_id: str, error: str) -> list[str]:
        """A node failed: its job waits again, or fails when that happened too often. The ids of affected jobs."""
        return failures.handle(self, node_id, error)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def submit_job(self, job: RenderJob) -> str:
        """Takes a job of a known client; its id. ValueError if the client is unknown.

        A job that closes a cycle of dependencies fails at once, with all others on the cycle.
        """
        if job.client_id not in self.clients:
            raise ValueError(f"client {job.client_id!r} of job {job.id!r} is unknown")
        members = on_a_cycle_with(job, self.jobs) if job.dependencies else []
        self.jobs[job.id] = job
        if members:
            self._fail_cycle(job, members)
            self._recorder.done()
            return job.id
        self._log(
            "job_submitted",
            f"Job {job.name} was submitted",
            job_id=job.id,
            job_name=job.name,
            client_id=job.client_id,
            priority=job.priority,
            deadline=job.deadline.isoformat(),
        )
        self._typed("log_job_submitted", job_id=job.id, client_id=job.client_id, name=job.name, priority=job.priority)
        if job.supports_progressive_output:
            self.progressive_renderer.schedule_progressive_output(job, self.progressive_output_config)
        self._recorder.job(job)
        self._recorder.done()
        return job.id

    def _fail_cycle(self, job: RenderJob, members: list[str]) -> None:
        job.status = RenderJobStatus.FAILED
        self._log(
            "job_circular_dependency",
            f"Job {job.name} would wait for itself",
            job_id=job.id,
            job_name=job.name,
            client_id=job.client_id,
            dependencies=job.dependencies,
            log_level="error",
        )
        for other_id in members[1:]:
            other = self.jobs[other_id]
            self._free(other)
            other.status = RenderJobStatus.FAILED
            self._log(
                "job_circular_dependency",
                f"Job {other.name} would wait for itself",
                job_id=other_id,
                log_level="error",
            )
        for member_id in members:
            self._typed_update(self.jobs[member_id])
            self._recorder.job(self.jobs[member_id], "it would wait for itself")

    def _free(self, job: RenderJob) -> RenderNode | None:
        """Lets the node of a job go, if it shows that job; the node."""
        node = self.nodes.get(job.assigned_node_id or "")
        if node is None or node.current_job_id != job.id:
            return None
        node.current_job_id = None
        self._recorder.node(node)
        return node

    def cancel_job(self, job_id: str) -> bool:
        """Ends a job; False if it is unknown, completed or cancelled."""
        job = self.jobs.get(job_id)
        if job is None or job.status in (RenderJobStatus.COMPLETED, RenderJobStatus.CANCELLED):
            return False
        self._recorder.look_at(job)
        job.status = RenderJobStatus.CANCELLED
        self._free(job)
        self._log(
            "job_cancelled", f"Job {job.name} was cancelled", job_id=job_id, job_name=job.name, client_id=job.client_id
        )
        self._recorder.job(job)
        self._recorder.done()
        return True

    def update_job_priority(self, job_id: str, priority: JobPriority) -> bool:
        """Gives a job another priority; False if it is unknown."""
        job = self.jobs.get(job_id)
        if job is None:
            return False
        self._recorder.look_at(job)
        priorities = {"old_priority": job.priority, "new_priority": priority}
        job.priority = priority
        self._log(
            "job_priority_updated",
            f"Job {job.name} has another priority",
            job_id=job_id,
            job_name=job.name,
            client_id=job.client_id,
            **priorities,
        )
        self._typed("log_job_updated", job_id=job_id, client_id=job.client_id, name=job.name, **priorities)
        self._recorder.job(job)
        self._recorder.done()
        return True

    def update_job_progress(self, job_id: str, progress: float) -> bool:
        """A job is so far, in percent; it is completed at 100. False if it is unknown."""
        return completion.progress(self, job_id, progress)

    def complete_job(self, job_id: str) -> bool:
        """A job is done, wherever it stood; False if it is unknown, completed or cancelled."""
        return completion.complete(self, job_id)

    def node_completed_job(self, node_id: str, job_id: str, performance_metrics: dict[str, float]) -> bool:
        """A node is done with its job; False unless the job is assigned to that node."""
        return completion.by_node(self, node_id, job_id, performance_metrics)

    def _validate_dependencies(self, job_id: str, dependencies: list[str]) -> bool:
        """Whether no other job holds a job back: those before it are unknown, completed, or half done."""
        jobs = self.jobs
        for before in dependencies:
            known = jobs.get(before)
            if known is not None and not promotion.stands_aside(known.status, known.progress):
                return False
        return True

    # -- cycles --------------------------------------------------------------------------------------------------

    def run_scheduling_cycle(self) -> dict[str, Any]:
        """Places what can run now; how many jobs, and how the farm is used."""
        with self.performance_monitor.time_operation("scheduling_cycle"):
            if not self.clients or not self.nodes:
                return nothing_done()
            self._recorder.look()
            result = Cycle(self).run()
            self._recorder.cycle()
            self._recorder.done()
            return result

    def set_progressive_output_config(self, config: ProgressiveOutputConfig) -> None:
        """How unfinished results are shown, for jobs submitted from now on."""
        self.progressive_output_config = config
        self._log(
            "progressive_output_config_updated",
            "Progressive output has another configuration",
            config=config.model_dump(),
        )
        self._recorder.farm()
        self._recorder.done()

    def set_energy_mode(self, mode: EnergyMode) -> None:
        """Trades speed for energy in another way, until the next cycle looks at the hour."""
        old = getattr(self.energy_optimizer, "current_energy_mode", None)
        self.energy_optimizer.set_energy_mode(mode)
        self._typed("log_energy_mode_changed", old_mode=old, new_mode=mode)
        self._recorder.farm()
        self._recorder.done()

    # -- questions -----------------------------------------------------------------------------------------------

    def get_job_status(self, job_id: str) -> dict[str, Any] | None:
        """How a job stands; None if it is unknown."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        output = None
        if job.supports_progressive_output:
            output = self.progressive_renderer.get_latest_progressive_output(job_id)
        return status.job_status(job, self.nodes.get(job.assigned_node_id or ""), output, self._now())

    def get_client_status(self, client_id: str) -> dict[str, Any] | None:
        """How a client stands; None if it is unknown."""
        client = self.clients.get(client_id)
        if client is None:
            return None
        jobs, nodes = list(self.jobs.values()), list(self.nodes.values())
        usage = self.resource_manager.calculate_resource_usage(client_id, jobs, nodes)
        known = self.resource_allocations
        return status.client_status(client, jobs, usage, known[client_id] if client_id in known else None)  # noqa: SIM401 (a mock has no `get`)

    def get_farm_status(self) -> dict[str, Any]:
        """How the farm stands."""
        jobs, nodes = list(self.jobs.values()), list(self.nodes.values())
        return {
            "total_nodes": len(nodes),
            "nodes_by_status": status.nodes_by_status(nodes),
            "total_jobs": len(jobs),
            "jobs_by_status": status.by_status(jobs),
            "jobs_by_client": status.by_client(jobs, self.clients),
            "total_clients": len(self.clients),
            "current_energy_mode": getattr(self.energy_optimizer, "current_energy_mode", None),
            "performance_metrics": self.performance_metrics.model_dump(),
            "compute_resources": status.compute_resources(nodes),
        }
