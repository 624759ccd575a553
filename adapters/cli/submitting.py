"""`milepost submit`: a command line, or a template of Open Job Description, becomes jobs in the queue."""

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import values as v
from adapters.cli.complete import complete_clients, complete_jobs, complete_partitions, complete_template
from adapters.cli.frame import Desk, need_server, place, verb
from adapters.cli.protecting import TERMS
from adapters.cli.text import one_line, plain
from adapters.clock import SystemIds
from domain.errors import BadInput, RequirementImpossible
from domain.job.commands import SubmitJob
from domain.job.values import JobSpec, Priority, Progressive, Work
from domain.messages import Command
from domain.resources import Requirement, Resources, named_amounts

if TYPE_CHECKING:
    from adapters.door import Door
    from application.app import Reply

TEMPLATE_SUFFIXES = (".yaml", ".yml", ".json")
MAX_NAME_CHARS = 40
DEFAULT_GRACE_MS = 5_000
DEFAULT_BACKOFF_MS = 1_000
COARSE_STEP = 4
"""Every 4th task is to be approved, unless it is said otherwise."""
ONLY_COMMANDS = ("name", "cpus", "memory", "gpus", "storage", "licenses", "attributes", "nodes", "slots", "array")
"""Options that a template says for itself."""
ONLY_TEMPLATES = ("parameters", "environments")
SPELLED = {"licenses": "license", "attributes": "attr", "parameters": "param", "environments": "environment"}
Options = dict[str, Any]


@verb(
    "submit",
    "milepost submit -- python render.py --frame 7",
    "milepost submit --array 1-100 --cpus 2 --memory 4G --name shot42 -- blender -b shot42.blend -f {task}",
    "milepost submit --after job-01kx… --retries 2 --walltime 1h --wait -- ./simulate",
    "milepost submit --nodes 4 -- mpirun ./solver        (a gang of four nodes)",
    "milepost submit animation.yaml -p LastFrame=48 --client studio --deadline 18:00",
)
@click.argument(
    "words",
    metavar="TEMPLATE | -- COMMAND [ARG]...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=complete_template,
)
@click.option("--name", help="What people call it. Default: the command.")
@click.option("--cpus", type=v.MILLICORES, metavar="N", help="Processors per slot, such as 2 or 0.5. Default: 1.")
@click.option("--memory", type=v.SIZE, metavar="SIZE", help="Memory per slot, such as 4G; who uses more is ended.")
@click.option("--gpus", type=v.whole(), metavar="N", help="GPUs per slot.")
@click.option("--storage", type=v.SIZE, metavar="SIZE", help="Scratch space per slot.")
@click.option(
    "--license",
    "licenses",
    type=v.NAMED_AMOUNT,
    metavar="NAME=N",
    multiple=True,
    help="A licence or the like, by name.",
)
@click.option(
    "--attr",
    "attributes",
    type=v.ATTRIBUTE,
    metavar="NAME=VALUE[,VALUE]",
    multiple=True,
    help="Only nodes that have one of these values.",
)
@click.option("--partition", metavar="NAME", shell_complete=complete_partitions, help="Only nodes of this partition.")
@click.option("--nodes", type=v.whole(1, 100_000), metavar="N", help="A gang: N nodes at once for each task.")
@click.option("--slots", type=v.whole(1, 100_000), metavar="N", help="A gang: N slots at once over any nodes.")
@click.option("--array", type=v.TASKS, metavar="TASKS", help="Tasks such as 1-10 or 1-99:2; {task} is the number.")
@click.option(
    "--client",
    envvar="MILEPOST_CLIENT",
    shell_complete=complete_clients,
    help="Whose work it is. Default: $MILEPOST_CLIENT, else default.",
)
@click.option("--priority", type=v.PRIORITY, default="medium", help="low, medium (the default), high or critical.")
@click.option("--deadline", type=v.DEADLINE, metavar="TIME", help="When it should be done: +2h, 18:00 or ISO 8601.")
@click.option("--start-after", type=v.DEADLINE, metavar="TIME", help="Not to be queued before this.")
@click.option(
    "--after", metavar="JOB[,JOB]", multiple=True, shell_complete=complete_jobs, help="Wait until these have completed."
)
@click.option("--hold", is_flag=True, help="Enter it held; `milepost unhold` lets it go.")
@click.option("--retries", type=v.whole(0, 1_000), default=0, metavar="N", help="More tries for a failed task.")
@click.option("--backoff", type=v.DURATION, metavar="TIME", help="Before the first retry, then doubled. Default: 1s.")
@click.option("--walltime", type=v.DURATION, metavar="TIME", help="The longest that one attempt may run.")
@click.option("--grace", type=v.DURATION, metavar="TIME", help="Between asking it to end and killing it. Default: 5s.")
@click.option(
    "--env",
    type=v.VARIABLE,
    metavar="NAME[=VALUE]",
    multiple=True,
    help="A variable for it; a name alone takes the value from here.",
)
@click.option("--cwd", type=click.Path(path_type=Path), metavar="DIR", help="Where to run it. Default: here.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results go ($MILEPOST_OUTPUT_DIR). Default: a directory of the job.",
)
@click.option("--coarse-first", type=v.whole(2), metavar="N", help="Every Nth task before the others.")
@click.option("--approval", is_flag=True, help="After those, wait for `milepost approve`. Without N: every 4th.")
@click.option(
    "--partial-overhead",
    type=v.whole(0, 100),
    metavar="PERCENT",
    help="How much of its time may go into results to look at before it is done. Default: 5.",
)
@click.option(
    "--protect",
    type=TERMS,
    metavar="TERMS",
    help="When it may be interrupted: never, checkpoint, a time, always. Default: as its client's.",
)
@click.option("--checkpoints", is_flag=True, help="It saves its state when it is told to end (SIGTERM).")
@click.option("--id", "given_id", metavar="ID", help="An id of your own; submitting it again changes nothing.")
@click.option(
    "--template",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The template, if its name does not end in .yaml, .yml or .json.",
)
@click.option(
    "-p", "--param", "parameters", type=v.PAIR, metavar="NAME=VALUE", multiple=True, help="A parameter of the template."
)
@click.option(
    "--environment",
    "environments",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    multiple=True,
    help="Environment template around every task.",
)
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit code 1 if it did not complete.")
def submit(desk: Desk, words: tuple[str, ...], template: Path | None, wait: bool, **options: Any) -> int | None:
    """Submit a command, or a template with its steps as jobs.

    Everything after `--` is the command. Each task of `--array` runs it once, with {task} replaced by the number.
    A template is a file of Open Job Description 2023-09 (.yaml, .yml or .json): each step becomes a job, each
    point of its parameter space a task, and the dependencies between steps are kept.
    """
    source = template or template_of(words)
    if template is not None and words:
        raise click.UsageError("a template and a command at once")
    _refuse_twice(options)
    _refuse_misplaced(options, ONLY_TEMPLATES if source is None else (*ONLY_COMMANDS, "cwd", "env"), source)
    with desk.door(write=True, create=True) as door:
        if wait:
            need_server(desk, door)
        options = resolved(door, options)
        command = of_template(source, options) if source else of_command(words, options)
        reply = handled(door, source, command)
        answer = {"position": reply.position, "new": reply.events > 0, **named(command)}
        if not wait:
            desk.answer(answer, _submitted)
            return None
        from adapters.cli.waiting import wait_for  # noqa: PLC0415 (shows progress, which is slow to load)

        desk.note(_submitted(answer))
        return wait_for(desk, door, [answer.get("workflow_id") or answer["job_ids"][0]])


def template_of(words: tuple[str, ...]) -> Path | None:
    """The template that a single word names; a file that is missing is better said now than found by a node."""
    if not words:
        raise click.UsageError("there is nothing to submit: give a template, or a command after `--`")
    path, runs = Path(words[0]), shutil.which(words[0]) is not None
    if not words[0].lower().endswith(TEMPLATE_SUFFIXES):
        if len(words) == 1 and path.is_file() and not runs:
            problem = f"{words[0]!r} is a file that cannot be run; if it is a template, give it as --template {path}"
            raise BadInput(problem)
        return None
    if len(words) > 1:
        if path.is_file() and not runs:
            raise click.UsageError(f"a template and a command at once: {words[0]} and {shlex.join(words[1:])}")
        return None
    if not path.exists() and not runs:
        raise BadInput(f"there is no template {words[0]!r}")
    return path


def resolved(door: "Door", options: Options) -> Options:
    """The options with full ids of the jobs to wait for."""
    prefixes = [each.strip() for text in options["after"] for each in text.split(",") if each.strip()]
    after = [door.get(place("/api/resolve", "job", prefix)) for prefix in prefixes]
    return {**options, "after": tuple(dict.fromkeys(each["id"] for each in after))}


def of_command(words: tuple[str, ...], options: Options) -> SubmitJob:
    """One job that runs a command line."""
    if options["nodes"] and options["slots"]:
        raise click.UsageError("--nodes and --slots are two kinds of gang; choose one")
    if "\0" in "".join(words):
        raise BadInput("an argument of the command has a zero byte in it, which no program can be given")
    spec = JobSpec(
        job_id=options["given_id"] or SystemIds().new("job"),
        name=options["name"] or name_of(words),
        work=Work(argv=words, env=variables(options["env"]), cwd=str((options["cwd"] or Path()).absolute())),
        requirement=requirement(options),
        tasks=options["array"] or "0",
        walltime_ms=options["walltime"],
        grace_ms=DEFAULT_GRACE_MS if options["grace"] is None else options["grace"],
        **_shared(options),
    )
    return SubmitJob(spec=spec, held=options["hold"], after=options["after"])


def of_template(source: Path, options: Options) -> Command:
    """A workflow with one job per step."""
    from adapters.importers.openjd import load_template  # noqa: PLC0415
    from adapters.importers.submission import Extras, submission_of  # noqa: PLC0415

    imported = load_template(
        source, parameters=dict(options["parameters"]), environments=options["environments"], base_dir=Path.cwd()
    )
    extras = Extras(
        walltime_ms=options["walltime"],
        grace_ms=options["grace"],
        held=options["hold"],
        after=options["after"],
        partition=options["partition"] or "",
        **_shared(options),
    )
    return submission_of(imported, id_maker(options["given_id"]), extras)


def handled(door: "Door", source: Path | None, command: Command) -> "Reply":
    """Submits; a requirement that no node could meet is refused with the template that has it."""
    try:
        return door.handle([command])
    except RequirementImpossible as error:
        if source is None:
            raise
        raise RequirementImpossible(f"{source}: {error.message}", **error.fields) from error


def id_maker(given_id: str | None) -> Callable[[str], str]:
    """Fresh ids, or those that follow from a given one: `wf-x` has the jobs `job-x-1`, `job-x-2`, …"""
    if given_id is None:
        return SystemIds().new
    if not given_id.startswith("wf-"):
        raise BadInput(f"{given_id!r}: the id of a template's workflow begins with `wf-`")
    count = 0

    def new(prefix: str) -> str:
        nonlocal count
        if prefix == "wf":
            return given_id
        count += 1
        return f"{prefix}-{given_id.removeprefix('wf-')}-{count}"

    return new


def requirement(options: Options) -> Requirement:
    """What one task needs."""
    licenses = dict(options["licenses"])
    if len(licenses) < len(options["licenses"]):
        raise click.UsageError("--license names the same resource twice")
    return Requirement(
        resources=Resources(
            millicores=1_000 if options["cpus"] is None else options["cpus"],
            memory_mib=options["memory"] or 0,
            gpus=options["gpus"] or 0,
            storage_mib=options["storage"] or 0,
            named=named_amounts(licenses),
        ),
        slots=options["nodes"] or options["slots"] or 1,
        distinct_nodes=bool(options["nodes"]),
        attributes=tuple(sorted(options["attributes"], key=lambda need: need.name)),
        partition=options["partition"] or "",
    )


def variables(given: tuple[tuple[str, str | None], ...]) -> dict[str, str]:
    """Variables with their values; one without a value has the value it has here."""
    missing = [name for name, value in given if value is None and name not in os.environ]
    if missing:
        raise BadInput(f"--env {missing[0]}: there is no such variable here; write {missing[0]}=VALUE")
    return {name: os.environ[name] if value is None else value for name, value in given}


def name_of(words: tuple[str, ...]) -> str:
    """What a job is called that was not given a name: its command, shortened."""
    return one_line(shlex.join([Path(words[0]).name, *words[1:]]), MAX_NAME_CHARS)


def named(command: Command) -> dict[str, Any]:
    """The ids that a submission has entered."""
    if isinstance(command, SubmitJob):
        return {"job_ids": [command.spec.job_id], "names": [command.spec.name]}
    from application.commands import Submit  # noqa: PLC0415

    assert isinstance(command, Submit)
    jobs = [each.spec for each in command.jobs]
    return {
        "workflow_id": command.workflow_id,
        "name": command.workflow_name,
        "job_ids": [job.job_id for job in jobs],
        "names": [job.name for job in jobs],
    }


def _shared(options: Options) -> dict[str, Any]:
    """What commands and templates have in common, by the names of `JobSpec`."""
    from application.commands import DEFAULT_CLIENT  # noqa: PLC0415

    output: Path | None = options["output"]
    return {
        "client_id": options["client"] or DEFAULT_CLIENT,
        "priority": Priority(options["priority"]),
        "deadline_ms": options["deadline"],
        "not_before_ms": options["start_after"],
        "retries": options["retries"],
        "backoff_ms": DEFAULT_BACKOFF_MS if options["backoff"] is None else options["backoff"],
        "output_dir": str(output.absolute()) if output else None,
        "progressive": _progressive(options),
        "protection": options["protect"],
        "checkpoints": options["checkpoints"],
    }


def _progressive(options: Options) -> Progressive | None:
    """What a job shows before it is done, if anything was said about that."""
    every, approval, overhead = options["coarse_first"], options["approval"], options["partial_overhead"]
    if every is None and not approval and overhead is None:
        return None
    every = every or (COARSE_STEP if approval else 1)
    return Progressive(every, approval, Progressive().overhead_percent if overhead is None else overhead)


def _refuse_twice(options: Options) -> None:
    """Of two values for one name, nobody could say which one was meant."""
    for option in ("parameters", "env"):
        counts = Counter(name for name, _ in options[option])
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise click.UsageError(f"--{SPELLED.get(option, option)} gives {twice[0]} twice")


def _refuse_misplaced(options: Options, names: tuple[str, ...], source: Path | None) -> None:
    for name in names:
        if options[name] not in (None, ()):
            what = "is for templates" if source is None else f"is for commands; {source} says it itself"
            raise click.UsageError(f"--{SPELLED.get(name, name)} {what}")


def _submitted(answer: dict[str, Any]) -> str:
    again = "" if answer["new"] else "  (submitted before; nothing changed)"
    if "workflow_id" not in answer:
        return f"{answer['job_ids'][0]}  {plain(answer['names'][0])}{again}"
    lines = [f"{answer['workflow_id']}  {plain(answer['name'])}{again}"]
    lines += [f"  {job_id}  {plain(name)}" for job_id, name in zip(answer["job_ids"], answer["names"], strict=True)]
    return "\n".join(lines)
