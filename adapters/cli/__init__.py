"""The command line `milepost`: every command of `adapters.cli.catalog`, one error line, documented exit codes."""

from collections.abc import Sequence

import click

from adapters.cli.catalog import Milepost
from adapters.cli.frame import carry_out

DESCRIPTION = """Milepost schedules jobs on a render farm or a simulation cluster, and remembers everything.

\b
  milepost serve --nodes 4              in one terminal: the farm
  milepost submit -- echo hello         in another: work for it
  milepost queue --why                  what waits, and what for
"""


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Prints the version and leaves."""
    if value:
        from adapters.queries.overview import version  # noqa: PLC0415 (slow to load, and hardly ever asked for)

        click.echo(f"milepost {version()}")
        ctx.exit()


cli = Milepost(
    "milepost",
    help=DESCRIPTION,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=print_version,
            help="Print the version and leave.",
        )
    ],
    no_args_is_help=True,
)  # fmt: skip


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command line (without the program's name); returns its exit code."""
    return carry_out(cli, args)
