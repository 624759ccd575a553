"""Random calls and random changes of a caller on one manager, and what that says of itself."""

import random
from datetime import datetime
from enum import Enum
from typing import Any

from render_farm_manager.core.manager import RenderFarmManager
from render_farm_manager.core.models import EnergyMode, JobPriority, RenderJobStatus
from render_farm_manager.core.recording import memories
from tests.facades.render_farm_manager.farms import job, node

ODD_TIMES = ("9999-12-31T23:59:59", "0001-01-01T00:00:00")


def plain(value: Any) -> Any:
    """A caller's value as the log has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def says(manager: RenderFarmManager) -> dict[str, dict[str, Any]]:
    """What the facade says of its objects, as the log should have it."""
    return {
        "job": {name: plain(dict(each.__dict__)) for name, each in manager.jobs.items()},
        "node": {
            name: plain({**each.__dict__, "capabilities": dict(each.capabilities.__dict__)})
            for name, each in manager.nodes.items()
        },
        "client": {name: {**plain(each.__dict__), "model": "client"} for name, each in manager.clients.items()},
    }


def says_all(manager: RenderFarmManager) -> dict[str, Any]:
    """The same with what belongs to the farm as a whole, and what its parts remember of jobs, as plain values."""
    shares = {name: plain(dict(each.__dict__)) for name, each in manager.resource_allocations.items()}
    whole = [manager.energy_optimizer.current_energy_mode, manager.performance_metrics.__dict__, shares]
    return {**says(manager), "farm": plain(whole), "memory": plain(memories(manager))}


class Player:
    """Plays random calls and random changes of a caller on one manager."""

    def __init__(self, seed: int, manager: RenderFarmManager, meddling: bool = True) -> None:
        self.rng, self.manager = random.Random(seed), manager
        self.plays = [
            self.submit, self.cycle, self.progress, self.complete, self.cancel, self.fail, self.report, self.online,
            self.priority, self.by_node, self.remove, self.mode,
        ]  # fmt: skip
        if meddling:
            self.plays += [self.meddle_job, self.meddle_node, self.pop]

    def play(self) -> None:
        self.rng.choice(self.plays)()

    def _job(self) -> str:
        return self.rng.choice(["nobody", *self.manager.jobs])

    def _node(self) -> str:
        return self.rng.choice(["nowhere", *self.manager.nodes])

    def submit(self) -> None:
        names = [f"j{number}" for number in range(8)]
        before = self.rng.sample(names, self.rng.randint(0, 2))
        priority = self.rng.choice(list(JobPriority))
        needs = {"memory_requirements_gb": self.rng.choice([8, 64, 500]), "requires_gpu": self.rng.random() < 0.2}
        flags = {"supports_checkpoint": True, "supports_progressive_output": self.rng.random() < 0.5}
        if "c1" in self.manager.clients:
            shot = job(self.rng.choice(names), dependencies=before, priority=priority, **needs, **flags)
            self.manager.submit_job(shot)

    def cycle(self) -> None:
        self.manager.run_scheduling_cycle()

    def progress(self) -> None:
        self.manager.update_job_progress(self._job(), self.rng.choice([10, 50, 77.5, 100]))

    def complete(self) -> None:
        self.manager.complete_job(self._job())

    def cancel(self) -> None:
        self.manager.cancel_job(self._job())

    def fail(self) -> None:
        self.manager.handle_node_failure(self._node(), "smoke")

    def report(self) -> None:
        self.manager.report_node_status(self._node(), self.rng.choice(["online", "offline", "maintenance", "error"]))

    def online(self) -> None:
        self.manager.set_node_online(self._node(), self.rng.random() < 0.7)

    def priority(self) -> None:
        self.manager.update_job_priority(self._job(), self.rng.choice(list(JobPriority)))

    def by_node(self) -> None:
        self.manager.node_completed_job(self._node(), self._job(), {"render_time_per_frame": 30.0})

    def mode(self) -> None:
        self.manager.set_energy_mode(self.rng.choice(list(EnergyMode)))

    def meddle_job(self) -> None:
        shot = self.manager.jobs.get(self._job())
        if shot is not None:
            shot.status = self.rng.choice(list(RenderJobStatus))
            shot.assigned_node_id = self.rng.choice([None, "n1", "n2", "nowhere"])
            shot.progress = self.rng.choice([0.0, 33.3, 60.0, 250])
            if self.rng.random() < 0.2:
                shot.priority, shot.deadline = "urgent", datetime.fromisoformat(self.rng.choice(ODD_TIMES))  # type: ignore[assignment]
                shot.memory_requirements_gb = 0

    def meddle_node(self) -> None:
        blade = self.manager.nodes.get(self._node())
        if blade is not None:
            blade.current_job_id = self.rng.choice([None, "j1", "j2"])
            blade.status = self.rng.choice(["online", "offline", "starting"])
            blade.capabilities.memory_gb = self.rng.choice([32, 64])

    def remove(self) -> None:
        if self.rng.random() < 0.5:
            self.manager.remove_node(self._node())
        self.manager.add_node(node(self.rng.choice(["n1", "n2", "n3"])))

    def pop(self) -> None:
        self.manager.jobs.pop(self._job(), None)
