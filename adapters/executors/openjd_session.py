"""Runs one task of an Open Job Description step: enter the environments, run the task, leave them in reverse order.

`python -m adapters.executors.openjd_session ATTEMPT_DIR/launch.json` is what a node starts for work whose runner is
`openjd`. Sessions are those of the reference library, `openjd-sessions`, and follow "How Jobs Are Run". The lines that
actions print are printed unchanged, so that a supervisor finds `openjd_progress:` and its like at their beginnings;
lines about the session begin with `[session]`. The exit code is 0 when everything succeeded, 143 when a SIGTERM cut
the work short, and else that of the first action that failed: 128 + n when signal n ended it, 1 when it has none.

Actions run in process sessions of their own, and `adapters.executors.openjd_guard` sees to it that none outlives the
runner.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from adapters.executors.openjd_guard import Guard
from adapters.executors.process_lines import EXIT_TIMED_OUT
from application.ports import Launch
from domain.errors import BadInput, ExtraMissing, TaskSchedulerError
from domain.messages import Value

if TYPE_CHECKING:
    from openjd.model import JobParameterValues, TaskParameterSet
    from openjd.model.v2023_09 import Environment, Step
    from openjd.sessions import ActionStatus, LogContent, Session

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TERMINATED = 143
SAFETY = 0.1
"""Share of the grace period in which nothing is waited for any more: at its end the supervisor kills."""
LEAVING = 0.25
"""Share of what remains that is kept for leaving environments, when leaving one means to do something."""
MAX_SHOWN = 200
FAIL = "openjd_fail: "


class JobParameter(Value, frozen=True):
    """The value of a job parameter, and the type that the template gives it."""

    type: str
    value: str


class SessionPlan(Value, frozen=True):
    """The payload of a work item: the tasks of one step, in the words of Open Job Description."""

    template: dict[str, Any]
    """A job template whose only step is the one to run."""
    parameters: dict[str, JobParameter]
    environments: tuple[dict[str, Any], ...] = ()
    """Environment templates around the session, the outermost first."""


class _Scene(msgspec.Struct, frozen=True):
    """A plan as objects of the library, for one task."""

    step: "Step"
    environments: "tuple[Environment, ...]"
    """In the order of entering."""
    job_parameters: "JobParameterValues"
    task_parameters: "TaskParameterSet"

    @property
    def leaves(self) -> bool:
        """Whether leaving one of the environments means to do something."""
        return any(each.script and each.script.actions.onExit for each in self.environments)


def main(arguments: Sequence[str]) -> int:
    """Run the attempt of a launch file and return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m adapters.executors.openjd_session ATTEMPT_DIR/launch.json", file=sys.stderr)
        return EXIT_USAGE
    path = Path(arguments[0]).resolve()
    try:
        launch, plan = _load(path)
        stop = _Stop(launch.grace_ms)
        signal.signal(signal.SIGTERM, stop.request)
        return _run(launch, plan, path.parent / "session", stop)
    except TaskSchedulerError as error:
        _fail(error.message)
        return EXIT_FAILED


def _fail(reason: str) -> None:
    """Say why the attempt fails, on the one line that a supervisor reads."""
    print(FAIL + " ".join(reason.split()), flush=True)


def _load(path: Path) -> tuple[Launch, SessionPlan]:
    try:
        launch = msgspec.json.decode(path.read_bytes(), type=Launch)
        return launch, msgspec.json.decode(launch.work.payload, type=SessionPlan)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _run(launch: Launch, plan: SessionPlan, directory: Path, stop: "_Stop") -> int:
    """Everything of one attempt; `directory` holds the session's working directory while it lasts."""
    directory.mkdir(exist_ok=True)
    with contextlib.ExitStack() as leaving:
        leaving.callback(_remove, directory)
        guard = Guard(directory)  # forks, so it comes before the library with its threads and its memory
        leaving.callback(guard.dismiss)
        scene = _stage(plan, launch.task)
        session = _open(launch, scene, directory, stop)
        leaving.callback(session.cleanup)
        leaving.callback(guard.dismiss)  # first of all: whatever an action left running writes to that directory
        return _Performance(session, scene, stop, _show_lines()).perform()


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: the library has said which files it could not delete
        directory.rmdir()


def _stage(plan: SessionPlan, task: int) -> _Scene:
    """Create the job anew with the library, and pick its step and task."""
    try:
        from openjd import model  # noqa: PLC0415 - 0.2 s that the guard need not wait for
    except ModuleNotFoundError as error:
        raise ExtraMissing(extra="openjd") from error
    try:
        environments = [model.decode_environment_template(template=each) for each in plan.environments]
        values = {
            name: model.ParameterValue(type=model.ParameterValueType(each.type), value=each.value)
            for name, each in plan.parameters.items()
        }
        job = model.create_job(
            job_template=model.decode_job_template(template=plan.template),
            job_parameter_values=values,
            environment_templates=environments,
        )
        step = job.steps[0]
        task_parameters = model.StepParameterSpaceIterator(space=step.parameterSpace)[task]
    except (ValueError, LookupError) as error:
        raise BadInput(f"the library makes no task {task} of this template: {error}") from error
    around = [each.environment for each in environments]
    around += [*(job.jobEnvironments or ()), *(step.stepEnvironments or ())]
    return _Scene(step, tuple(around), values, task_parameters)


def _open(launch: Launch, scene: _Scene, directory: Path, stop: "_Stop") -> "Session":
    from openjd.sessions import Session  # noqa: PLC0415

    return Session(
        session_id=launch.attempt_id,
        job_parameter_values=scene.job_parameters,
        session_root_directory=directory,
        callback=lambda _session, _status: stop.bell.put(None),
    )


class _Performance:
    """One session, from the first environment in to the last one out."""

    def __init__(self, session: "Session", scene: _Scene, stop: "_Stop", lines: "_Lines") -> None:
        self._session = session
        self._scene = scene
        self._stop = stop
        self._lines = lines
        self._code = 0
        self._cut = False

    def perform(self) -> int:
        """Do it all and return the exit code; environments that were entered, or tried to be, are always left."""
        if all(self._enter(number) for number in range(len(self._scene.environments))):
            self._run_task()
        for identifier in reversed(self._session.environments_entered):
            self._leave(identifier)
        return EXIT_TERMINATED if self._cut else self._code

    def _enter(self, number: int) -> bool:
        environment = self._scene.environments[number]
        start = partial(self._session.enter_environment, environment=environment, identifier=str(number))
        return self._act(f"entering environment {environment.name!r}", start, explain=True)

    def _run_task(self) -> None:
        step, values = self._scene.step, self._scene.task_parameters
        names = step.parameterSpace.taskParameterDefinitions if step.parameterSpace else ()
        shown = "".join(f" {name}={values[name].value!r}" for name in names)[:MAX_SHOWN]
        start = partial(self._session.run_task, step_script=step.script, task_parameter_values=values)
        self._act(f"running the task of step {step.name!r}{shown}", start)

    def _leave(self, identifier: str) -> None:
        name = self._scene.environments[int(identifier)].name
        start = partial(self._session.exit_environment, identifier=identifier)
        self._act(f"leaving environment {name!r}", start, leaving=True, explain=True)

    def _act(self, what: str, start: Callable[[], object], *, leaving: bool = False, explain: bool = False) -> bool:
        """Start one action, wait for its end, and keep the exit code of the first that fails; whether it succeeded."""
        if self._is_too_late(leaving):
            self._cut = True
            return False
        print(f"[session] {what}", flush=True)
        start()
        status = self._wait(leaving)
        if status is None or status.state.value == "success":
            return status is not None
        print(f"[session] {what}: {status.state.value}, exit code {status.exit_code}", flush=True)
        timed_out = status.state.value == "timeout"
        self._code = self._code or (EXIT_TIMED_OUT if timed_out else _exit_code(status.exit_code))
        reason = _reason(status, self._lines.declared, explain)
        if reason and not self._cut:
            _fail(f"{what}: {reason}")
        return False

    def _is_too_late(self, leaving: bool) -> bool:
        """Whether nothing more may start: after a SIGTERM only environments are left, and only while there is time."""
        if not self._stop.requested:
            return False
        return not leaving or self._stop.left_s() <= 0 or self._is_running()

    def _wait(self, leaving: bool) -> "ActionStatus | None":
        """How the action ended; None when it would not end although it was killed."""
        cancelled = False
        while self._is_running():
            if not cancelled and self._stop.requested and (not leaving or self._stop.left_s() <= 0):
                cancelled = self._cut = True
                self._cancel(leaving)
            if not self._stop.wait(self._stop.left_s(final=cancelled)) and cancelled:
                return None
        return self._session.action_status

    def _is_running(self) -> bool:
        return self._session.state.value == "running"

    def _cancel(self, leaving: bool) -> None:
        """Cancel the action by the method of the template, but no slower than the grace period allows."""
        share = 1 - LEAVING if self._scene.leaves else 1
        limit = timedelta(seconds=0 if leaving else max(0.0, self._stop.left_s()) * share)
        with contextlib.suppress(RuntimeError):  # it ended at this very moment
            self._session.cancel_action(time_limit=limit)


def _exit_code(code: int | None) -> int:
    """The exit code to pass on for an action that failed: signal n as 128 + n, like a shell."""
    if not code:
        return EXIT_FAILED
    return code if code > 0 else 128 - code


def _reason(status: "ActionStatus", declared: str, explain: bool) -> str:
    """Why an action failed; empty if it declared that itself, or if its exit code says enough (unless `explain`)."""
    if status.state.value == "timeout":
        return "it ran longer than its timeout"
    if status.fail_message:
        return status.fail_message if status.fail_message != declared else ""
    if status.exit_code is None:
        return "it could not be started"
    return f"exit code {status.exit_code}" if explain else ""


class _Stop:
    """Whether a SIGTERM came, and how much time is left since then."""

    def __init__(self, grace_ms: int) -> None:
        self.bell: SimpleQueue[None] = SimpleQueue()
        """Rings when something may have changed; a signal handler may ring it too."""
        self.requested = False
        self._grace_s = grace_ms / 1000
        self._since = 0.0

    def request(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler; a second signal changes nothing."""
        if not self.requested:
            self._since = time.monotonic()
            self.requested = True
        self.bell.put(None)

    def left_s(self, *, final: bool = False) -> float:
        """Seconds in which actions may go on; `final` adds half of the safety, for those killed to be gone."""
        share = 1 - SAFETY + (SAFETY / 2 if final else 0)
        return self._since + self._grace_s * share - time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the bell rings, after a SIGTERM no longer than `timeout_s`; whether it rang."""
        try:
            self.bell.get(timeout=max(0.0, timeout_s) if self.requested else None)
        except Empty:
            return False
        return True


class _Lines(logging.StreamHandler[TextIO]):
    """Prints what actions print as it is, and of what the library says the warnings, marked as the session's."""

    def __init__(self, output: "LogContent") -> None:
        super().__init__(sys.stdout)
        self.declared = ""
        """The newest reason for failing that was printed."""
        self._output = output

    def filter(self, record: logging.LogRecord) -> bool:
        # An action may have asked for less ("openjd_session_runtime_loglevel"), which would silence actions as well.
        logging.getLogger(record.name).setLevel(logging.INFO)
        text = record.getMessage()
        return self._is_output(record) or text.startswith(FAIL) or record.levelno >= logging.WARNING

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if text.startswith(FAIL):
            self.declared = text.removeprefix(FAIL)
        if self._is_output(record):
            return text
        line = " ".join(text.split())
        return line if line.startswith(FAIL) else f"[session] {line}"

    def _is_output(self, record: logging.LogRecord) -> bool:
        return getattr(record, "openjd_log_content", None) == self._output


def _show_lines() -> _Lines:
    """Connect the library's log, through which the output of actions runs, with standard output."""
    from openjd.sessions import LOG, LogContent  # noqa: PLC0415

    lines = _Lines(LogContent.COMMAND_OUTPUT)
    LOG.addHandler(lines)
    LOG.propagate = False
    return lines


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the library's threads may still wait for an output that nobody will close
