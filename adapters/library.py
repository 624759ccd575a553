"""Milepost as a library: a farm in this process, with real nodes, and the questions people ask of it.

A thin layer of convenience over `application` and the queries; what it does not offer is a command away (`handle`).
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.bootstrap import Ending, Server, open_server
from adapters.executors.machine import LocalNode, machine_nodes
from adapters.importers.openjd import load_template
from adapters.importers.submission import Extras, submission_of
from application.app import Reply
from application.commands import DEFAULT_CLIENT, AdoptPolicies, Submit
from application.power import Hook, no_hook
from application.undo import Undo
from application.watchdog import Timing
from domain import intervals
from domain.client import RegisterClient, Shares
from domain.errors import BadInput
from domain.intervals import TaskSet
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Work
from domain.messages import ClientId, Command, JobId, Recorded, WorkflowId
from domain.node import NodeStatus, RegisterNode
from domain.policies import Policies
from domain.resources import Requirement, Resources
from projections.queue import JobView

ACTOR = f"user:{os.environ.get('USER', 'unknown')}"
SYSTEM = "library"
"""Who registers the nodes of this machine."""
POLL_S = 0.02


class Milepost:
    """An open farm: submit, run, look."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.app = server.app

    @classmethod
    @contextmanager
    def open(
        cls,
        data_dir: str | Path,
        *,
        nodes: int | Sequence[LocalNode] = 1,
        timing: Timing | None = None,
        ending: Ending = Ending.TERMINATE,
        power_hook: Hook = no_hook,
    ) -> Iterator["Milepost"]:
        """A farm in a data directory (made if it is new) with this machine as `nodes` nodes.

        Leaving the context ends what still runs, so that it waits again, and shuts the nodes down; `ending` says
        otherwise. `power_hook` switches machines whose nodes are powered down and up. StoreLocked if another process
        has the store.
        """
        known = machine_nodes(nodes) if isinstance(nodes, int) else nodes
        server = open_server(Path(data_dir).absolute(), nodes=known, timing=timing, power_hook=power_hook)
        try:
            server.app.handle_all(list(_registrations(server, known)), SYSTEM)
            server.start()
        except BaseException:
            server.close()
            raise
        try:
            yield cls(server)
        except BaseException:
            server.stop(Ending.TERMINATE)
            raise
        server.stop(ending)

    # -- commands ------------------------------------------------------------------------------------------------

    def handle(self, *commands: Command, command_id: str = "") -> Reply:
        """Carries commands out in one durable transaction, all or none, or raises the error that says why not.

        Under an id of your own they are carried out once, however often they are sent, and can be undone by it.
        """
        return self.app.handle_all(commands, ACTOR, command_id)

    def undo(self, command_id: str, why: str = "") -> Reply:
        """Changes back all that one command changed, or raises the error that says why not and what would help.

        The events of a command carry its id (`recorded.meta.command_id`), and so do those of this one: undoing it does
        the command again. CommandNotFound, NothingToUndo, UndoForbidden, UndoOvertaken (by a later change of the same
        thing) and AlreadyUndone leave everything as it is.
        """
        return self.app.handle(Undo(command_id=command_id, why=why), ACTOR, self.app.ids.new("cmd"))

    def add_client(self, client_id: ClientId, shares: Shares = Shares()) -> None:  # noqa: B008 (a frozen value)
        """Makes a client known; the same again changes nothing."""
        self.handle(RegisterClient(client_id=client_id, shares=shares))

    def submit(
        self,
        *argv: str,
        name: str = "",
        tasks: str = "0",
        cpus: float = 1,
        memory_mib: int = 0,
        gpus: int = 0,
        client: ClientId = DEFAULT_CLIENT,
        priority: Priority | str = Priority.MEDIUM,
        after: Sequence[JobId] = (),
        deadline_ms: int | None = None,
        retries: int = 0,
        walltime_ms: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        output_dir: str | Path | None = None,
        partition: str = "",
    ) -> JobId:
        """Submits a command as a job of one or many tasks (`tasks="1-40"`), `{task}` standing for the number.

        BadInput for no command, tasks that are no set of numbers, an unknown priority, or cores that are no number;
        RequirementImpossible for what no node of this farm could ever hold; PartitionNotFound and PartitionForbids for
        a partition that does not take it.
        """
        if not argv:
            raise BadInput(problem="there is nothing to submit: give the command and its arguments")
        spec = JobSpec(
            job_id=self.app.ids.new("job"),
            name=name or Path(argv[0]).name,
            client_id=client,
            work=Work(tuple(argv), env=dict(env or {}), cwd=str(cwd) if cwd else None),
            requirement=Requirement(Resources(_millicores(cpus), memory_mib, gpus), partition=partition),
            tasks=_task_set(tasks),
            priority=_priority(priority),
            deadline_ms=deadline_ms,
            retries=retries,
            walltime_ms=walltime_ms,
            output_dir=str(output_dir) if output_dir else None,
        )
        self.handle(SubmitJob(spec=spec, after=tuple(after)))
        return spec.job_id

    def submit_template(
        self, template: str | Path, parameters: Mapping[str, str], extras: Extras | None = None
    ) -> tuple[WorkflowId, tuple[JobId, ...]]:
        """Submits an Open Job Description template as a workflow; its id and those of its jobs, one per step."""
        imported = load_template(Path(template), parameters=parameters, base_dir=Path.cwd())
        command: Submit = submission_of(imported, self.app.ids.new, extras or Extras())
        self.handle(command)
        assert command.workflow_id is not None
        return command.workflow_id, tuple(job.spec.job_id for job in command.jobs)

    def run(self, watch: Callable[[], None] | None = None, timeout_s: float | None = None) -> bool:
        """Works until nothing is left that can run; False if that took longer than the timeout."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.server.idle():
            if self.server.loops.failed.is_set():
                raise RuntimeError("the farm stopped") from self.server.loops.error
            if until is not None and time.monotonic() > until:
                return False
            if watch is not None:
                watch()
            time.sleep(POLL_S)
        return True

    # -- queries -------------------------------------------------------------------------------------------------

    def queue(self, *, everything: bool = False) -> list[JobView]:
        """The jobs that have not ended, or all."""
        self.server.views.catch_up()
        return self.server.views.jobs(everything=everything)

    def job(self, job_id: JobId) -> dict[str, Any]:
        """Everything about one job, as `milepost show --json` prints it."""
        shown: dict[str, Any] = self.server.queries.get(f"/api/jobs/{job_id}")
        return shown

    def output(self, job_id: JobId, task: int = 0) -> str:
        """What the last attempt of a task printed."""
        answer = self.server.queries.get(f"/api/logs/{job_id}", task=task)
        return str(answer["text"])

    def adopt(self, policies: Policies) -> None:
        """Lets cycles follow these policies from now on; PolicyInvalid says what is wrong with them."""
        self.app.handle(AdoptPolicies(policies=policies), ACTOR)

    def events(self, stream: str) -> list[Recorded]:
        """The events of one stream, oldest first."""
        return self.app.log.stream(stream)

    def story(self, entity: str, limit: int = 1_000) -> list[str]:
        """What happened to a job, node, client or workflow in words, oldest first: the newest `limit` sentences.

        More than its own events: of a job also its checkpoints, its dependencies and what resumed from them.
        """
        told: dict[str, Any] = self.server.queries.get(f"/api/story/{entity}", limit=limit)
        return [str(line["sentence"]) for line in told["rows"]]


def _registrations(server: Server, nodes: Sequence[LocalNode]) -> Iterator[RegisterNode]:
    """The nodes as configured are known before they report, so that nothing is accepted that none of them could hold.

    Left out are those that a person has set aside.
    """
    for node in nodes:
        known = server.app.farm.nodes.get(node.node_id)
        if known is None or not (known.retired or known.status is NodeStatus.MAINTENANCE):
            yield RegisterNode(node_id=node.node_id, capacity=node.capacity, attributes=node.attributes)


def _millicores(cpus: float) -> int:
    if not math.isfinite(cpus):
        raise BadInput(problem=f"{cpus} is not a number of processors such as 2 or 0.5")
    return round(cpus * 1000)


def _task_set(text: str) -> TaskSet:
    try:
        return intervals.parse(text)
    except ValueError as error:
        raise BadInput(problem=f"tasks={text!r}: {error}") from error


def _priority(word: Priority | str) -> Priority:
    try:
        return Priority(word)
    except ValueError as error:
        raise BadInput(problem=f"{word!r} is not a priority; there are {', '.join(Priority)}") from error
