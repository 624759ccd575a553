"""The commands of `milepost`: in which module each stands, and what the list of commands says of it.

Modules are imported when a command of theirs is called, so that no command pays for another one.
"""

from importlib import import_module
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from adapters.cli import exits


class Entry(NamedTuple):
    """One command."""

    module: str
    function: str
    brief: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Submit and run": {
        "submit": Entry("submitting", "submit", "Submit a command, or a template with its steps as jobs."),
        "run": Entry("serving", "run", "Work off what is queued, then leave."),
        "serve": Entry("serving", "serve", "Run the server of the farm in the foreground."),
        "wait": Entry("waiting", "wait", "Wait until jobs or workflows have ended."),
    },
    "Look": {
        "queue": Entry("looking", "queue", "Show what waits and runs."),
        "deadlines": Entry("deadlines", "deadlines", "Show which jobs may be late, and how likely that is."),
        "nodes": Entry("looking", "nodes", "Show the nodes and what they hold."),
        "shares": Entry("shares", "shares", "Show what clients are guaranteed, use, lend and borrow."),
        "show": Entry("details", "show", "Show one job, workflow, node or client."),
        "logs": Entry("output", "logs", "Print what an attempt of a job wrote."),
        "usage": Entry("usage", "usage", "Show the time, energy and money that were used."),
        "status": Entry("looking", "status", "Show how the farm stands in numbers."),
    },
    "Change jobs": {
        "hold": Entry("changing", "hold", "Start no further task of a job."),
        "unhold": Entry("changing", "unhold", "Lift the hold of a job."),
        "pause": Entry("changing", "pause", "Suspend what runs of a job."),
        "resume": Entry("changing", "resume", "Let a paused job go on."),
        "cancel": Entry("changing", "cancel", "End a job."),
        "requeue": Entry("changing", "requeue", "Stop running tasks and let them wait again."),
        "approve": Entry("changing", "approve", "Let a job go on whose first tasks were looked at."),
        "retry": Entry("changing", "retry", "Open a failed or cancelled job again."),
        "bypass": Entry("changing", "bypass", "Let a job start before its dependencies are met."),
        "prioritize": Entry("changing", "prioritize", "Give a job another priority."),
        "deadline": Entry("changing", "deadline", "Give a job another deadline."),
        "protect": Entry("protecting", "protect", "Say when work may be interrupted by other work."),
    },
    "Change the farm": {
        "drain": Entry("changing", "drain", "Place nothing more on a node."),
        "undrain": Entry("changing", "undrain", "Let a drained node take work again."),
        "client": Entry("clients", "client", "Show and change clients, their guarantees and limits."),
        "partition": Entry("partitions", "partition", "Show and change sets of nodes that jobs can be limited to."),
        "reserve": Entry("reserving", "reserve", "Set nodes aside for a time."),
        "maintenance": Entry("reserving", "maintenance", "Take nodes out of service for a time."),
        "policy": Entry("comparing", "policy", "Show, adopt and compare the policies that plan the farm."),
        "power": Entry("power", "power", "Power nodes down and up."),
        "undo": Entry("undoing", "undo", "Change back what a command changed."),
    },
    "Understand": {
        "explain": Entry("history", "explain", "Say why a job waits, or why it ran where and when it did."),
        "story": Entry("history", "story", "Tell what happened to a job, node, workflow or client."),
        "events": Entry("history", "events", "Print the events of the log."),
        "audit": Entry("history", "audit", "Show who did what, when and why."),
        "simulate": Entry("simulating", "simulate", "Run a workload in virtual time and measure the schedule."),
        "whatif": Entry("whatif", "whatif", "Run what is on record again under other policies or nodes."),
    },
    "Set up": {
        "init": Entry("upkeep", "init", "Make a data directory with commented settings."),
        "demo": Entry("upkeep", "demo", "Watch a small farm do real work."),
        "rebuild": Entry("upkeep", "rebuild", "Make the read models anew from the log."),
        "completion": Entry("upkeep", "completion", "Print the completion script of a shell."),
    },
}
ALIASES = {"release": "unhold"}
ENTRIES = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Milepost(click.Group):
    """All commands, listed in sections and imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the list."""
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name or alias."""
        entry = ENTRIES.get(ALIASES.get(name, name))
        if entry is None:
            return None
        found: click.Command = getattr(import_module(f"adapters.cli.{entry.module}"), entry.function)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was meant; a usage error that says which ones are alike."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=[*ENTRIES, *ALIASES], ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each section with its commands."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.brief) for name, entry in entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what the exit codes mean."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in exits.MEANINGS.items()])
        formatter.write_paragraph()
        formatter.write_text("Every command has --help with examples, --data DIR and --json.")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands with what they do."""
        found = [
            CompletionItem(name, help=entry.brief) for name, entry in ENTRIES.items() if name.startswith(incomplete)
        ]
        return found or click.Command.shell_complete(self, ctx, incomplete)
