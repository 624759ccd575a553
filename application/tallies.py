"""How the live workflows stand with what a batch has staged: the farm's counts, and what was staged since counted on.

Counted only when somebody asks, and each staged event once: a batch in which no job of a workflow ends pays nothing.
"""

from collections.abc import Sequence
from typing import Any

from domain.farm import Farm
from domain.indices.tally import Tally
from domain.job.events import JobRetried
from domain.job.values import Job
from domain.messages import Event, JobId, Recorded, WorkflowId
from domain.workflow import Workflow, WorkflowJobAdded, WorkflowReopened


class StagedTallies:
    """The tallies of the workflows that a batch has touched."""

    def __init__(self, farm: Farm, events: Sequence[Recorded], after: Sequence[Any]) -> None:
        self._farm, self._events, self._after = farm, events, after
        self._upto = 0
        """How many of the staged events are counted."""
        self._tallies: dict[WorkflowId, Tally | None] = {}
        """Only those that differ from the farm's; None for a workflow that has ended."""
        self._jobs: dict[JobId, Job] = {}
        """Staged states of jobs, as far as they are counted."""

    def of(self, workflow_id: WorkflowId) -> Tally | None:
        """The tally of a workflow after all that is staged; None if it is not live as far as this process knows."""
        while self._upto < len(self._events):
            event, after = self._events[self._upto].event, self._after[self._upto]
            self._upto += 1
            if type(after) is Job:
                self._count_job(event, after)
            elif type(after) is Workflow:
                self._count_workflow(event, after)
        return self._own(workflow_id) if workflow_id in self._tallies else self._farm.tallies.get(workflow_id)

    def roll_back(self, upto: int) -> None:
        """Forgets what was counted if some of it is no longer staged."""
        if upto < self._upto:
            self._upto = 0
            self._tallies.clear()
            self._jobs.clear()

    def _own(self, workflow_id: WorkflowId) -> Tally | None:
        """The tally to count on."""
        if workflow_id not in self._tallies:
            known = self._farm.tallies.get(workflow_id)
            if known is None:
                return None
            self._tallies[workflow_id] = known.copy()
        return self._tallies[workflow_id]

    def _job(self, job_id: JobId) -> Job | None:
        return self._jobs.get(job_id) or self._farm.jobs.get(job_id)

    def _count_job(self, event: Event, after: Job) -> None:
        job_id, workflow_id = after.spec.job_id, after.spec.workflow_id
        if workflow_id is None:
            return
        before = self._job(job_id)
        self._jobs[job_id] = after
        tally = self._own(workflow_id)
        if tally is None:
            return
        if type(event) is JobRetried:
            tally.reopen(after)
        else:
            tally.move(before, after)

    def _count_workflow(self, event: Event, after: Workflow) -> None:
        workflow_id = after.workflow_id
        if after.ended is not None:
            self._tallies[workflow_id] = None
        elif type(event) is WorkflowJobAdded:
            tally = self._own(workflow_id)
            if tally is not None:
                tally.add()
        else:
            outcomes = event.outcomes if type(event) is WorkflowReopened else {}
            self._tallies[workflow_id] = Tally.of(after.jobs, self._job, outcomes)
