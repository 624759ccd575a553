"""`milepost protect`: when work may be interrupted by work that comes before it."""

import click

from adapters.cli.changing import change_jobs, each_of, resolve, why_option
from adapters.cli.complete import complete_jobs
from adapters.cli.frame import Desk, verb
from adapters.cli.values import Written, deadline_ms
from domain.client import ProtectClient
from domain.job.commands import ProtectJob
from domain.job.values import Protection
from domain.messages import Command

NEVER, CHECKPOINT, ALWAYS, NONE = "never", "checkpoint", "always", "none"
WORDS = (NEVER, CHECKPOINT, ALWAYS, NONE)


def terms(text: str) -> Protection | None:
    """`never`, `checkpoint`, a time, both of these, `always`, or `none` for no contract of its own; else ValueError."""
    words = [word.lower() if (word := part.strip()).lower() in WORDS else word for part in text.split(",")]
    if words in ([NEVER], [ALWAYS], [NONE]):
        return None if words == [NONE] else Protection(never=words == [NEVER])
    times = [word for word in words if word != CHECKPOINT]
    if {NEVER, ALWAYS, NONE} & set(times) or len(times) > 1 or words.count(CHECKPOINT) > 1:
        raise ValueError(f"{text!r} says two things at once; give {NEVER}, {ALWAYS}, {NONE}, or {CHECKPOINT},TIME")
    until_ms = deadline_ms(times[0]) if times else None
    return Protection(until_ms=until_ms, after_checkpoint=CHECKPOINT in words)


TERMS = Written("terms", terms, WORDS)


@verb(
    "protect",
    "milepost protect never job-01kx… --why 'the final render'",
    "milepost protect checkpoint job-01kx…      (only once it has saved its state)",
    "milepost protect +2d,checkpoint wf-01kx…   (not before, and then only once it has)",
    "milepost protect always job-01kx…          (although it runs for months)",
    "milepost protect none job-01kx…            (as its client's contract says)",
    "milepost protect --client checkpoint lab",
)
@click.argument("contract", metavar="TERMS", type=TERMS)
@click.argument("names", metavar="JOB|WORKFLOW...", nargs=-1, required=True, shell_complete=complete_jobs)
@click.option("--client", "of_clients", is_flag=True, help="The names are clients: all their jobs without terms.")
@why_option
def protect(desk: Desk, contract: Protection | None, names: tuple[str, ...], of_clients: bool, why: str) -> int:
    """Say when work may be interrupted by work that comes before it.

    TERMS are never, checkpoint (an attempt only once it has saved its state), a time such as +2h or 18:00 (not before
    it), always, or none. Without any, work of a week and less makes way for whatever has the right to, and longer work
    for nothing. Nothing ever interrupts against a contract.
    """
    from projections.story.preemption import protection_text  # noqa: PLC0415 (`submit` reads terms without it)

    said = f"may be interrupted {protection_text(contract)}"
    if not of_clients:
        return change_jobs(desk, names, lambda job_id: ProtectJob(job_id=job_id, protection=contract, why=why), said)

    def make(client_id: str) -> list[Command]:
        return [ProtectClient(client_id=client_id, protection=contract, why=why)]

    said = "its work may be interrupted by whatever has the right to" if contract is None else f"its work {said}"
    with desk.door(write=True) as door:
        return each_of(desk, door, names, lambda text: [resolve(door, "client", text)], make, said)
