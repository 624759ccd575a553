"""Jobs that wait for each other: who lies on a cycle with a job that is being submitted."""

from collections.abc import Mapping

from render_farm_manager.core.models import RenderJob


def on_a_cycle_with(job: RenderJob, stored: Mapping[str, RenderJob]) -> list[str]:
    """The ids of all jobs on cycles through a new job, itself first; empty if it lies on none.

    Only jobs that are stored and have dependencies are followed. O(jobs and dependencies reached).
    """
    before = _reached(job, stored)
    if all(job.id not in dependencies for dependencies in before.values()):
        return []
    after: dict[str, list[str]] = {}
    for name, dependencies in before.items():
        for dependency in dependencies:
            after.setdefault(dependency, []).append(name)
    found, stack = {job.id: None}, [job.id]  # everything reached that leads back to the job
    while stack:
        for name in after.get(stack.pop(), ()):
            if name not in found:
                found[name] = None
                stack.append(name)
    return list(found)


def _reached(job: RenderJob, stored: Mapping[str, RenderJob]) -> dict[str, list[str]]:
    """The dependencies of the job and of all that it waits for, directly or not."""
    reached, stack = {job.id: list(job.dependencies)}, [job.dependencies]
    while stack:
        for name in stack.pop():
            if name not in reached and (known := stored.get(name)) is not None and known.dependencies:
                reached[name] = known.dependencies
                stack.append(known.dependencies)
    return reached
