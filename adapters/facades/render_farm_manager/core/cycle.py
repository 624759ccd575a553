"""One scheduling cycle: priorities, shares, placements, energy, progressive output, figures, in this order.

The collaborators may be anybody's: their plans are taken entry by entry with a look at the live objects, and figures
that are no numbers are passed on as they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from render_farm_manager.core.models import RenderJob, RenderJobStatus, RenderNode
from render_farm_manager.core.reading import ENDED

if TYPE_CHECKING:
    from render_farm_manager.core.manager import RenderFarmManager

UNKNOWN_MS = 1000.0
"""How long a cycle is said to take while none was measured."""


def nothing_done() -> dict[str, Any]:
    """The answer of a cycle that did nothing."""
    return {
        "jobs_scheduled": 0,
        "jobs_preempted": 0,
        "resources_allocated": {},
        "energy_optimized_jobs": 0,
        "progressive_outputs": 0,
        "utilization_percentage": 0.0,
    }


class Cycle:
    """One cycle of a manager, on its live objects."""

    def __init__(self, farm: "RenderFarmManager") -> None:
        self.farm = farm
        self.jobs, self.nodes = list(farm.jobs.values()), list(farm.nodes.values())
        self.result = nothing_done()

    def run(self) -> dict[str, Any]:
        """All steps; what was done."""
        farm, result = self.farm, self.result
        updated = farm.scheduler.update_priorities(self.jobs)
        self._allocate()
        result["jobs_scheduled"] = self._place(farm.scheduler.schedule_jobs(self.jobs, self.nodes))
        result["energy_optimized_jobs"] = self._place_for_energy(updated)
        self._queue_ready()
        result["progressive_outputs"] = self._show(updated)
        self._measure(updated)
        return result

    def _allocate(self) -> None:
        """Shares inform; they keep no job off a node."""
        farm, clients = self.farm, self.farm.clients
        allocations = farm.resource_manager.allocate_resources(list(clients.values()), self.nodes)
        farm.resource_allocations = allocations
        self.result["resources_allocated"] = {
            client_id: allocations[client_id].allocated_percentage if client_id in allocations else 0.0
            for client_id in clients
        }

    # -- placing -------------------------------------------------------------------------------------------------

    def _place(self, plan: Any) -> int:
        """Starts what the scheduler planned, as far as it still makes sense; how many jobs that were."""
        farm, started = self.farm, 0
        for job_id, node_id in _entries(plan):
            job = farm.jobs.get(job_id)
            if job is None or job.status in ENDED or not farm._validate_dependencies(job.id, job.dependencies):
                continue
            self._start(job, node_id, farm.nodes.get(node_id), "deadline-scheduler")
            started += 1
            farm._log(
                "job_scheduled",
                f"Job {job_id} runs on node {node_id}",
                job_id=job_id,
                node_id=node_id,
                client_id=job.client_id,
                priority=job.priority,
            )
            self._typed_schedule(job, node_id)
        return started

    def _place_for_energy(self, updated: Any) -> int:
        """Starts what the energy optimizer placed on nodes that are still free; how much it placed."""
        farm = self.farm
        extra = _entries(farm.energy_optimizer.optimize_energy_usage(updated, self.nodes))
        for job_id, node_id in extra:
            job, node = farm.jobs.get(job_id), farm.nodes.get(node_id)
            if job is None or node is None or node.status != "online" or node.current_job_id == job_id:
                continue
            if job.status in ENDED or not farm._validate_dependencies(job.id, job.dependencies):
                continue
            self._start(job, node_id, node, "energy-optimizer")
            farm._log(
                "energy_optimized_job_scheduled",
                f"Job {job_id} runs on node {node_id} to save energy",
                job_id=job_id,
                node_id=node_id,
                energy_mode=getattr(farm.energy_optimizer, "current_energy_mode", None),
            )
            self._typed_schedule(job, node_id)
        return len(extra)

    def _typed_schedule(self, job: RenderJob, node_id: str) -> None:
        self.farm._typed(
            "log_job_scheduled", job_id=job.id, node_id=node_id, client_id=job.client_id, priority=job.priority
        )

    def _start(self, job: RenderJob, node_id: str, node: RenderNode | None, policy: str) -> None:
        """A job runs on a node, which lets go of what it ran before."""
        farm = self.farm
        before = farm.nodes.get(job.assigned_node_id or "")
        if before is not None and before is not node and before.current_job_id == job.id:
            before.current_job_id = None
        if node is not None and node.current_job_id and node.current_job_id != job.id:
            self._displace(node, job)
        job.status, job.assigned_node_id = RenderJobStatus.RUNNING, node_id
        if node is not None:
            node.current_job_id = job.id
        farm._recorder.placed(job, policy)

    def _displace(self, node: RenderNode, by: RenderJob) -> None:
        """The running job of a node waits again; its progress is kept."""
        farm = self.farm
        running = farm.jobs.get(node.current_job_id or "")
        if running is not None and running.status == "running":
            running.status, running.assigned_node_id = RenderJobStatus.QUEUED, None
            self.result["jobs_preempted"] += 1
            farm.performance_metrics.preemptions_count += 1
            farm._recorder.job(running, f"it makes room for {by.id}")

    def _queue_ready(self) -> None:
        """Pending jobs that wait for no other job are queued."""
        farm = self.farm
        for job in self.jobs:
            if job.status == "pending" and farm._validate_dependencies(job.id, job.dependencies):
                job.status = RenderJobStatus.QUEUED
                farm._typed_update(job)

    def _show(self, updated: Any) -> int:
        """Makes the unfinished pictures that are due; how many that were."""
        made = _entries(self.farm.progressive_renderer.process_pending_outputs(updated))
        for job_id, pictures in made:
            self.farm._recorder.outputs(job_id, pictures)
        return sum([len(pictures) for _, pictures in made])

    # -- figures -------------------------------------------------------------------------------------------------

    def _measure(self, updated: Any) -> None:
        farm, result = self.farm, self.result
        online = sum([node.status == "online" for node in self.nodes])
        busy = sum([bool(node.current_job_id) for node in self.nodes])
        used = result["utilization_percentage"] = busy / online * 100 if online else 0.0
        metrics = farm.performance_metrics
        metrics.average_utilization_percentage = _averaged(metrics.average_utilization_percentage, used)
        metrics.average_node_idle_percentage = 100 - used
        savings = farm.energy_optimizer.estimate_energy_savings(updated, self.nodes)
        if isinstance(savings, int | float):
            old = metrics.optimization_improvement_percentage
            metrics.optimization_improvement_percentage = _averaged(old, savings)
        told = {
            name: result[name]
            for name in ("jobs_scheduled", "utilization_percentage", "energy_optimized_jobs", "progressive_outputs")
        }
        farm._log("scheduling_cycle_completed", f"A scheduling cycle started {result['jobs_scheduled']} jobs", **told)
        farm._typed("log_scheduling_cycle", **told)
        self._tell_figures()

    def _tell_figures(self) -> None:
        farm, monitor = self.farm, self.farm.performance_monitor
        longest = getattr(monitor, "get_max_operation_time", None)
        known = None if longest is None else longest("scheduling_cycle")
        farm._measured(
            "update_scheduling_cycle_time",
            duration_ms=UNKNOWN_MS if known is None else known,
            jobs_scheduled=self.result["jobs_scheduled"],
        )
        for node in self.nodes:
            used = 100.0 if node.current_job_id else 0.0
            farm._measured("update_node_utilization", node_id=node.id, utilization_percentage=used)
        if hasattr(monitor, "update_client_job_count") and hasattr(monitor, "update_client_resource_metrics"):
            self._tell_clients()

    def _tell_clients(self) -> None:
        farm, counts = self.farm, dict.fromkeys(self.farm.clients, 0)
        for job in self.jobs:
            if job.client_id in counts:
                counts[job.client_id] += 1
        for client_id, count in counts.items():
            farm._measured("update_client_job_count", client_id=client_id, job_count=count)
            if client_id in farm.resource_allocations:
                allocation = farm.resource_allocations[client_id]
                farm._measured(
                    "update_client_resource_metrics",
                    client_id=client_id,
                    allocated_percentage=allocation.allocated_percentage,
                    borrowed_percentage=allocation.borrowed_percentage,
                    lent_percentage=allocation.lent_percentage,
                )


def _averaged(old: float, new: float) -> float:
    return (old * 9 + new) / 10


def _entries(answer: Any) -> list[tuple[Any, Any]]:
    """What a collaborator answered, entry by entry; nothing for what is no mapping."""
    return list(answer.items()) if isinstance(answer, Mapping) else []
