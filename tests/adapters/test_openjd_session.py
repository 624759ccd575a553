"""Sessions of Open Job Description: the runner as a process, as a node starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml

from adapters.executors.process_lines import EXIT_TIMED_OUT
from adapters.importers.openjd import ImportedJob, load_template
from application.ports import Launch
from domain.errors import BadInput

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MILEPOST_TEST_DATA", ROOT.parent / "shared" / "data")) / "openjd"
CONFORMANCE = sorted(DATA.glob("conformance/jobs/*.test.yaml"))
PATIENCE_S = 30.0
EXIT_TERMINATED = 143

Document = dict[str, Any]


class Attempt:
    """One runner process in a process group of its own, with the folder of its attempt."""

    def __init__(self, folder: Path, job: ImportedJob, task: int, grace_ms: int, variables: Mapping[str, str]) -> None:
        self.folder = folder
        launch = Launch(
            attempt_id=f"job-1.{task}.1", job_id="job-1", task=task, attempt=1, node_id="node-1",
            nodes=(("node-1", 1),), work=job.work, resources=job.requirement.resources, grace_ms=grace_ms,
        )  # fmt: skip
        (folder / "launch.json").write_bytes(msgspec.json.encode(launch))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (folder / "output.log").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adapters.executors.openjd_session", str(folder / "launch.json")],
                env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **variables}, cwd=folder,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def lines(self) -> list[str]:
        return (self.folder / "output.log").read_text().splitlines()

    def said(self) -> list[str]:
        """What actions printed, without the session's own lines."""
        return [line for line in self.lines() if not line.startswith("[session]")]

    def failures(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("openjd_fail: ")]

    def end(self) -> int:
        """Wait for the exit code; nothing may be left then."""
        code = self.process.wait(PATIENCE_S)
        assert self.alive() == []
        assert not (self.folder / "session").exists()
        return code

    def alive(self) -> list[psutil.Process]:
        """Processes of this attempt: those that know its folder."""
        return [each for each in psutil.process_iter() if self._knows(each)]

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def _knows(self, process: psutil.Process) -> bool:
        try:
            words = [*process.cmdline(), *process.environ().values()]
            return any(str(self.folder) in word for word in words) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


Start = Callable[..., Attempt]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start attempts of a job; whatever a failing test leaves is killed."""
    attempts: list[Attempt] = []

    def begin(job: ImportedJob | Document, task: int = 0, *, grace_ms: int = 20_000, **variables: str) -> Attempt:
        folder = tmp_path / f"attempt-{len(attempts)}"
        folder.mkdir()
        job = job if isinstance(job, ImportedJob) else load(job)
        attempts.append(Attempt(folder, job, task, grace_ms, variables))
        return attempts[-1]

    yield begin
    for attempt in attempts:
        for process in attempt.alive():
            process.kill()
        attempt.process.wait(PATIENCE_S)


def load(document: Document, base_dir: Path = ROOT) -> ImportedJob:
    return load_template(json.dumps(document), parameters={}, base_dir=base_dir).jobs[0]


def python(code: str, **fields: Any) -> Document:
    return {"command": "python", "args": ["-c", code], **fields}


def template(run: Document, *environments: Document, step: Document | None = None, **fields: Any) -> Document:
    only = {"name": "S", "script": {"actions": {"onRun": run}}} | (step or {})
    return {
        "specificationVersion": "jobtemplate-2023-09", "name": "T", "steps": [only], **fields,
        **({"jobEnvironments": list(environments)} if environments else {}),
    }  # fmt: skip


def environment(name: str, **actions: Document) -> Document:
    said = {"onEnter": python(f"print('enter {name}')"), "onExit": python(f"print('exit {name}')")}
    return {"name": name, "script": {"actions": said | actions}}


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


# In order.


def test_environments_are_entered_from_outside_in_and_left_in_reverse_order(start: Start, tmp_path: Path) -> None:
    queue = tmp_path / "queue.yaml"
    queue.write_text(
        yaml.safe_dump({"specificationVersion": "environment-2023-09", "environment": environment("Queue")})
    )
    inner = {"stepEnvironments": [environment("Step")]}
    document = template(python("print('run')"), environment("Job"), step=inner)
    jobs = load_template(json.dumps(document), parameters={}, environments=[queue], base_dir=tmp_path).jobs
    attempt = start(jobs[0])
    assert attempt.end() == 0
    assert attempt.said() == [
        "enter Queue", "enter Job", "enter Step", "run", "exit Step", "exit Job", "exit Queue",
    ]  # fmt: skip


def test_a_task_gets_its_own_parameters_files_and_directory(start: Start) -> None:
    ranges = [
        {"name": "Frame", "type": "INT", "range": "5-7"},
        {"name": "Eye", "type": "STRING", "range": ["left", "right"]},
    ]
    files = [
        {
            "name": "Code",
            "type": "TEXT",
            "data": 'import os\nprint("{{Task.Param.Frame}} {{Task.Param.Eye}} {{Param.P}}")\nprint(os.getcwd())',
        }
    ]
    run = {"command": "python", "args": ["{{Task.File.Code}}"]}
    step = {
        "parameterSpace": {"taskParameterDefinitions": ranges},
        "script": {"actions": {"onRun": run}, "embeddedFiles": files},
    }
    document = template(run, step=step, parameterDefinitions=[{"name": "P", "type": "STRING", "default": "it's"}])
    attempt = start(load(document), task=3)
    assert attempt.end() == 0
    values, directory = attempt.said()
    assert values == "6 right it's"
    assert Path(directory).parent == attempt.folder / "session"


def test_variables_of_the_attempt_and_of_environments_reach_the_task(start: Start) -> None:
    code = "import os; print([os.environ.get(n) for n in ('MILEPOST_TASK', 'STATIC', 'SAID', 'GONE', 'LATER')])"
    enter = python("print('openjd_env: SAID=a b'); print('openjd_unset_env: GONE'); print('openjd_env: LATER=inner')")
    static = {"name": "A", "variables": {"STATIC": "{{Param.P}}", "LATER": "outer"}}
    definitions = [{"name": "P", "type": "INT", "default": 7}]
    attempt = start(
        template(python(code), static, environment("B", onEnter=enter), parameterDefinitions=definitions),
        MILEPOST_TASK="0",
        GONE="x",
    )
    assert attempt.end() == 0
    assert "['0', '7', 'a b', None, 'inner']" in attempt.said()


def test_lines_of_actions_are_printed_once_and_unchanged(start: Start) -> None:
    printed = ["openjd_progress: 12.5", "openjd_status: half  way", "  indented", "", '{"json": 1} %s %(x)s', "å"]
    code = "import sys; sys.stdout.buffer.write(%r)"
    raw = ("\n".join(printed) + "\n").encode() + b"bad \xff byte\nno end"
    attempt = start(template(python(code % raw)))
    assert attempt.end() == 0
    assert attempt.said() == [*printed, "bad \\xff byte", "no end"]


def test_an_action_cannot_silence_itself(start: Start) -> None:
    attempt = start(template(python("print('openjd_session_runtime_loglevel: ERROR'); print('openjd_progress: 50')")))
    assert attempt.end() == 0
    assert attempt.said()[-1] == "openjd_progress: 50"


def test_output_goes_on_until_the_last_line(start: Start) -> None:
    attempt = start(template(python("print(*range(20000), sep='\\n')")))
    assert attempt.end() == 0
    assert attempt.said() == [str(number) for number in range(20_000)]


# Failures.


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137), ("import os; os.abort()", 134)],
)
def test_the_exit_code_of_the_task_is_passed_on_after_leaving(start: Start, code: str, exit_code: int) -> None:
    attempt = start(template(python(code), environment("E")))
    assert attempt.end() == exit_code
    assert attempt.said()[-1] == "exit E"
    assert attempt.failures() == []


def test_a_program_that_is_not_there_fails(start: Start) -> None:
    attempt = start(template({"command": "no-such-program"}))
    assert attempt.end() == 127


def test_a_declared_failure_is_said_once(start: Start) -> None:
    attempt = start(template(python("print('openjd_fail: no licence'); raise SystemExit(3)")))
    assert attempt.end() == 3
    assert attempt.failures() == ["openjd_fail: no licence"]


def test_an_environment_that_cannot_be_entered_is_left_and_nothing_runs_in_it(start: Start) -> None:
    broken = environment("Broken", onEnter=python("raise SystemExit(4)"))
    attempt = start(template(python("print('run')"), environment("Outer"), broken, environment("Inner")))
    assert attempt.end() == 4
    assert attempt.said() == [
        "enter Outer", "openjd_fail: entering environment 'Broken': exit code 4", "exit Broken", "exit Outer",
    ]  # fmt: skip


def test_an_environment_that_cannot_be_left_fails_the_attempt(start: Start) -> None:
    broken = environment("Broken", onExit=python("raise SystemExit(5)"))
    attempt = start(template(python("print('run')"), environment("Outer"), broken))
    assert attempt.end() == 5
    assert attempt.said()[-2:] == ["openjd_fail: leaving environment 'Broken': exit code 5", "exit Outer"]


def test_a_malformed_variable_fails_its_environment_with_the_reason(start: Start) -> None:
    enter = python("import time; print('openjd_env: 1=2', flush=True); time.sleep(60)")
    attempt = start(template(python("print('run')"), environment("E", onEnter=enter)))
    assert attempt.end() != 0
    assert attempt.failures() == [
        "openjd_fail: entering environment 'E': Failed to parse environment variable assignment."
    ]
    assert "run" not in attempt.said()


def test_an_action_that_takes_too_long_is_cancelled_and_named(start: Start) -> None:
    attempt = start(template(python("import time; time.sleep(60)", timeout=1), environment("E")))
    assert attempt.end() == EXIT_TIMED_OUT
    assert attempt.failures() == ["openjd_fail: running the task of step 'S': it ran longer than its timeout"]
    assert attempt.said()[-1] == "exit E"


def test_a_task_that_does_not_exist_is_refused(start: Start) -> None:
    attempt = start(template(python("print('run')")), task=1)
    assert attempt.end() == 1
    assert len(attempt.failures()) == 1
    assert "no task 1" in attempt.failures()[0]


def test_a_launch_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    runner = [sys.executable, "-m", "adapters.executors.openjd_session"]
    for arguments, code, text in [([], 2, "usage: "), ([str(tmp_path / "none.json")], 1, "openjd_fail: ")]:
        done = subprocess.run([*runner, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert text in done.stdout + done.stderr


def test_a_node_without_the_library_says_so(start: Start, tmp_path: Path) -> None:
    (tmp_path / "openjd.py").write_text("raise ModuleNotFoundError('No module named openjd')")
    attempt = start(template(python("print('run')")), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert attempt.end() == 1
    assert "milepost[openjd]" in attempt.failures()[0]


# Told to end.

SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
NOTIFIED = {"cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": 30}}
SAVES = """
import os, signal, sys, time
def leave(*_):
    print("saved", os.path.exists("cancel_info.json"), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(60)
"""
STAYS = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


def ready(attempt: Attempt, line: str = "ready") -> Attempt:
    until(lambda: line in attempt.said(), f"{line!r} in {attempt.lines()}")
    return attempt


def test_a_task_told_to_end_is_killed_when_the_template_says_no_more(start: Start) -> None:
    attempt = ready(start(template(python(SLEEPS), environment("E"))))
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED
    assert attempt.said() == ["enter E", "ready", "exit E"]
    assert attempt.failures() == []


def test_a_task_that_wants_to_be_notified_saves_its_work_before_environments_are_left(start: Start) -> None:
    attempt = ready(start(template(python(SAVES, **NOTIFIED), environment("E"))))
    attempt.signal(signal.SIGTERM)
    attempt.signal(signal.SIGTERM)  # a second one changes nothing
    assert attempt.end() == EXIT_TERMINATED
    assert attempt.said() == ["enter E", "ready", "saved True", "exit E"]


def test_a_task_that_will_not_end_is_killed_within_the_grace_period(start: Start) -> None:
    attempt = ready(start(template(python(STAYS, **NOTIFIED), environment("E")), grace_ms=4_000))
    told = time.monotonic()
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED
    assert time.monotonic() - told < 8.0  # twice the grace period, for busy machines; the task would take 60 s
    assert attempt.said()[-1] == "exit E"


def test_leaving_that_takes_longer_than_the_grace_period_is_cut_short(start: Start) -> None:
    attempt = ready(start(template(python("print('run')"), environment("E", onExit=python(STAYS))), grace_ms=4_000))
    told = time.monotonic()
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED
    assert 3.0 < time.monotonic() - told < 8.0


def test_leaving_that_ends_in_time_is_a_success(start: Start) -> None:
    leave = python("import time; print('ready', flush=True); time.sleep(0.5); print('left')")
    attempt = ready(start(template(python("print('run')"), environment("E", onExit=leave))))
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == 0
    assert attempt.said()[-1] == "left"


def test_a_session_told_to_end_while_entering_starts_no_task(start: Start) -> None:
    attempt = ready(
        start(template(python("print('run')"), environment("Outer"), environment("E", onEnter=python(SLEEPS))))
    )
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED
    assert attempt.said() == ["enter Outer", "ready", "exit E", "exit Outer"]


# Nothing survives.

SPREADS = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
children = [subprocess.Popen(sleep, start_new_session=new, **quiet) for new in (False, True)]
open("children", "w").write(" ".join(str(child.pid) for child in children))
print("ready", flush=True)
"""


def test_what_an_environment_leaves_running_lives_until_the_session_ends(start: Start) -> None:
    look = "import os; [os.kill(int(pid), 0) for pid in open('children').read().split()]; print('alive')"
    attempt = start(template(python(look), environment("E", onEnter=python(SPREADS))))
    assert attempt.end() == 0
    assert attempt.said() == ["ready", "alive", "exit E"]


def test_nothing_survives_a_runner_that_is_killed(start: Start) -> None:
    attempt = ready(start(template(python(SPREADS + "time.sleep(600)"))))
    assert len(attempt.alive()) == 5  # runner, guard, task, and its two children
    attempt.signal(signal.SIGKILL)
    assert attempt.process.wait(PATIENCE_S) == -signal.SIGKILL
    until(lambda: not attempt.alive(), "the guard to clear away")


def test_a_suspended_runner_suspends_its_actions(start: Start) -> None:
    attempt = ready(start(template(python(SPREADS + "time.sleep(600)"))))
    others = [each for each in attempt.alive() if each.environ().get("OPENJD_SESSION_WORKING_DIR")]
    assert len(others) == 3
    for number, suspended in [(signal.SIGSTOP, True), (signal.SIGCONT, False)]:
        attempt.signal(number)
        until(lambda on=suspended: all((each.status() == psutil.STATUS_STOPPED) == on for each in others), str(number))
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED


# Templates of others.

RUNNABLE: dict[str, tuple[dict[str, str], list[str]]] = {
    "cli-tests/basic.yaml": ({"J": "x"}, ["J1 Enter", "J=x Foo=1. Bar=Bar1", "J=x Foo=1. Bar=Bar2", "J1 Exit"]),
    "cli-tests/basic_dependency_job.yaml": ({"J": "x"}, ["J=x Foo=1. Bar=Bar2", "J=x Fuz=2."]),
    "cli-tests/simple_with_j_param.yaml": ({"J": "x"}, ["DoTask x"]),
    "deadline-samples/simple_job.yaml": ({"Message": "hello there"}, ["hello there"]),
    "deadline-samples/cli_job.yaml": ({"DataDir": "data"}, ["The directory contents attached to this job:", "a.txt"]),
    "deadline-samples/job_env_vars.yaml": ({}, ["JOB_PROJECT_ID=step-project-12", "STEP_VERBOSITY=HIGH"]),
    "specs-samples/host-requirements.yaml": ({}, ["This is StepTwo - pretend it is heavier on resources"]),
    "specs-samples/stdout-messages.yaml": ({}, ["openjd_progress: 0.0", "openjd_status: Processing the things"]),
    "specs-samples/ui-controls-showcase.yaml": (
        {"InputFilePicker": "in", "OutputFilePicker": "out", "DirectoryPicker": "dir"}, ["1234.56789", "WEDNESDAY"],
    ),
}  # fmt: skip
"""Templates for programs that every system has: parameters, and some of the lines they must print."""


def shared(*names: str) -> list[str]:
    return [name for name in names if (DATA / name).exists()]


def run_all(start: Start, jobs: tuple[ImportedJob, ...]) -> tuple[list[int], list[str]]:
    """Exit codes and lines of all tasks of a workflow, which run side by side."""
    attempts = [start(job, task) for job in jobs for task in range(job.task_count)]
    return [each.end() for each in attempts], [line for each in attempts for line in each.said()]


@pytest.mark.parametrize("name", shared(*RUNNABLE))
def test_templates_for_usual_programs_succeed(start: Start, name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("content")
    parameters, expected = RUNNABLE[name]
    codes, lines = run_all(start, load_template(DATA / name, parameters=parameters, base_dir=tmp_path).jobs)
    assert set(codes) == {0}
    assert [line for line in expected if line not in lines] == []


@pytest.mark.parametrize("file", CONFORMANCE, ids=lambda file: file.name)
def test_conformance_jobs_print_what_they_should(start: Start, file: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(file.read_text())
    around = [tmp_path / f"environment-{number}.yaml" for number, _ in enumerate(case.get("environments", ()))]
    for path, each in zip(around, case.get("environments", ()), strict=True):
        path.write_text(yaml.safe_dump(each))
    given = {"parameters": case.get("parameters", {}), "environments": around, "base_dir": tmp_path}
    text = yaml.safe_dump(case["template"])
    if ".invalid." in file.name or "extensions" in case["template"]:
        with pytest.raises(BadInput, match=r"Unknown|TASK_CHUNKING is not supported"):
            load_template(text, **given)
        return
    codes, lines = run_all(start, load_template(text, **given).jobs)
    assert set(codes) == {0}
    assert [line for line in case["expected"].get("output", ()) if line not in lines] == []
    assert [line for line in case["expected"].get("forbidden", ()) if any(line in each for each in lines)] == []


@pytest.mark.parametrize("name", shared("cli-tests/simple_with_j_param_exit_1.yaml"))
def test_the_template_that_exits_with_1_fails(start: Start, name: str) -> None:
    attempt = start(load_template(DATA / name, parameters={"J": "x"}, base_dir=ROOT).jobs[0])
    assert attempt.end() == 1
    assert attempt.said() == ["DoTask"]


@pytest.mark.parametrize("name", shared("cli-tests/job_interruptible_sleep.yaml"))
def test_the_template_that_sleeps_can_be_interrupted(start: Start, name: str) -> None:
    attempt = ready(start(load_template(DATA / name, parameters={}, base_dir=ROOT).jobs[0]), "READY_FOR_SIGNAL")
    attempt.signal(signal.SIGTERM)
    assert attempt.end() == EXIT_TERMINATED


ENVIRONMENTS: list[tuple[str, int, list[str] | None]] = [
    ("cli-tests/env_1.yaml", 0, ["Env1 Enter", "run", "Env1 Exit"]),
    (
        "cli-tests/env_with_param.yaml",
        0,
        ["EnvWithParam Enter DefaultForEnvParam", "run", "EnvWithParam Exit DefaultForEnvParam"],
    ),
    (
        "cli-tests/env_fails_enter.yaml",
        1,
        [
            "EnvEnterFail Enter",
            "openjd_fail: entering environment 'EnvEnterFail': exit code 1",
            "EnvEnterFail Exit",
        ],
    ),
    ("specs-samples/env-environment-variables.yaml", 0, ["run"]),
    ("deadline-samples/env-conda_queue_env_from_console.yaml", 127, None),
]
"""Templates of environments: exit code and lines of a task in them; conda is not here."""


@pytest.mark.parametrize(("name", "code", "expected"), [each for each in ENVIRONMENTS if (DATA / each[0]).exists()])
def test_environment_templates_stand_around_the_task(
    start: Start, name: str, code: int, expected: list[str] | None
) -> None:
    jobs = load_template(
        json.dumps(template(python("print('run')"))), parameters={}, environments=[DATA / name], base_dir=ROOT
    ).jobs
    attempt = start(jobs[0])
    assert attempt.end() == code
    assert expected is None or attempt.said() == expected
