"""From a launch to a process: command line, environment, directories, session.

Placeholders in arguments name what the variables name: `{task}`, `{job}`, `{attempt}` are MILEPOST_TASK,
MILEPOST_JOB_ID, MILEPOST_ATTEMPT. An attempt sees of the server's environment only what every program needs, then the
job's own variables, then the contract's. Processor affinity and niceness are left as they are: how much of a machine
an attempt holds is the planner's business, and render programs and MPI place their own threads.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.layout import Layout, node_list
from application.ports import Launch

ATTEMPT_DIR = "MILEPOST_ATTEMPT_DIR"
"""Marks every process of an attempt, whatever session it moves to; unique on a machine, as attempt ids may not be."""
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "LD_LIBRARY_PATH", "VIRTUAL_ENV", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
RUNNERS = {"openjd": "adapters.executors.openjd_session"}
"""Modules that run the formats' work; each is given the path of `launch.json`."""
PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class LaunchError(Exception):
    """The command could not be started; the message says why."""


def spawn(launch: Launch, files: AttemptFiles, layout: Layout, output: int) -> int:
    """Start the attempt's first process as leader of its own session; its pid. `LaunchError` if that is impossible.

    `output` is the descriptor that takes standard output and standard error. No Python runs between fork and exec, so
    that the child shares the supervisor's memory until then (`vfork`) and starting stays cheap.
    """
    cwd = working_directory(launch, files)
    argv = command(launch, files)
    variables = environment(launch, files, layout)
    try:
        process = subprocess.Popen(
            argv, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LaunchError(_not_found(argv[0], variables["PATH"])) from error
    except (OSError, ValueError) as error:
        raise LaunchError(f"{argv[0]!r} could not be started: {error}") from error
    # The supervisor reaps all its children itself; Popen must neither wait nor complain.
    process.returncode = 0
    return process.pid


def working_directory(launch: Launch, files: AttemptFiles) -> Path:
    """Where the attempt runs: where the work says (a relative path is below the attempt's folder), else in `work/`."""
    if launch.work.cwd is None:
        files.work.mkdir(exist_ok=True)
        return files.work
    cwd = files.work.parent / launch.work.cwd
    if not cwd.is_dir():
        raise LaunchError(f"there is no directory {str(cwd)!r} to run in")
    return cwd


def command(launch: Launch, files: AttemptFiles) -> list[str]:
    """Program and arguments with their placeholders filled in."""
    work = launch.work
    if work.runner != "command":
        if work.runner not in RUNNERS:
            raise LaunchError(f"there is no runner {work.runner!r}; known are command, {', '.join(RUNNERS)}")
        return [sys.executable, "-m", RUNNERS[work.runner], str(files.launch)]
    if not work.argv:
        raise LaunchError("the work names no program")
    return [_filled(argument, launch) for argument in work.argv]


def environment(launch: Launch, files: AttemptFiles, layout: Layout) -> dict[str, str]:
    """The whole environment of the attempt's processes; makes the directories that it names.

    A relative output directory lies in the job's own folder.
    """
    variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
    variables |= launch.work.env
    variables["PATH"] = search_path(variables)
    if launch.work.runner != "command":
        variables |= python_path(variables)
    return variables | contract_variables(launch, files, layout)


def contract_variables(launch: Launch, files: AttemptFiles, layout: Layout) -> dict[str, str]:
    """What the process contract promises to every attempt."""
    checkpoints = layout.checkpoints(launch.job_id, launch.task)
    output = layout.output(launch.job_id)
    if launch.output_dir is not None:
        output = output.parent / launch.output_dir
    _make(checkpoints)
    _make(output)
    variables = {
        "MILEPOST_JOB_ID": launch.job_id,
        "MILEPOST_TASK": str(launch.task),
        "MILEPOST_ATTEMPT": launch.attempt_id,
        ATTEMPT_DIR: str(files.folder),
        "MILEPOST_CHECKPOINT_DIR": str(checkpoints),
        "MILEPOST_OUTPUT_DIR": str(output),
        "MILEPOST_NODES": node_list(launch.nodes),
    }
    if launch.workflow_id is not None:
        variables["MILEPOST_WORKFLOW_ID"] = launch.workflow_id
    if launch.restore_from is not None:
        variables["MILEPOST_RESTORE_FROM"] = launch.restore_from
    if launch.partial_overhead is not None:
        variables["MILEPOST_PARTIAL_OVERHEAD"] = str(launch.partial_overhead)
    return variables


def python_path(variables: Mapping[str, str]) -> dict[str, str]:
    """What lets a Python import this code that did not inherit how to; nothing if the code is installed."""
    if PROJECT.name in ("site-packages", "dist-packages"):
        return {}
    known = variables.get("PYTHONPATH")
    return {"PYTHONPATH": f"{PROJECT}{os.pathsep}{known}" if known else str(PROJECT)}


def search_path(variables: Mapping[str, str]) -> str:
    """Where programs are looked for; this Python's own directory last, so that `milepost` and its tools are found."""
    path = variables.get("PATH") or DEFAULT_PATH
    own = str(Path(sys.executable).parent)
    return path if own in path.split(os.pathsep) else f"{path}{os.pathsep}{own}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"the directory {str(folder)!r} could not be made: {error.strerror}") from error


def _not_found(program: str, path: str) -> str:
    if "/" not in program:
        return f"there is no program {program!r} in {path!r}"
    return f"there is no program {program!r}, or no interpreter for it"


def _filled(argument: str, launch: Launch) -> str:
    if "{" not in argument:
        return argument
    return (
        argument.replace("{task}", str(launch.task))
        .replace("{job}", launch.job_id)
        .replace("{attempt}", launch.attempt_id)
    )
