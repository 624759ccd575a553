"""`milepost reserve` and `milepost maintenance`: nodes set aside for a time, for somebody or for nobody."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adapters import times
from adapters.cli import values as v
from adapters.cli.booked import made_text, page, preview_page, table_of
from adapters.cli.changing import resolve, why_option
from adapters.cli.complete import complete_nodes, complete_partitions, complete_reservations
from adapters.cli.frame import Desk, data_option, json_option, place, verb
from adapters.cli.looking import at_option, given
from adapters.clock import SystemClock, SystemIds
from domain.reservation import (
    MAINTENANCE,
    CancelReservation,
    Capacity,
    ChangeReservation,
    EndReservation,
    MakeReservation,
    Owner,
    OwnerKind,
    Repetition,
)
from domain.time_range import TimeRange

if TYPE_CHECKING:
    from adapters.door import Door

FOR = (OwnerKind.CLIENT, OwnerKind.WORKFLOW, OwnerKind.PARTITION)
named = click.argument("reservation", metavar="RESERVATION", shell_complete=complete_reservations)
force_option = click.option("--force", is_flag=True, help="Although work would be lost, or the nodes are reserved.")


def _owner(text: str) -> tuple[OwnerKind, str]:
    """`client:show`, `workflow:wf-…` or `partition:gpu`."""
    kind, _, name = text.partition(":")
    if kind not in FOR or not name:
        raise ValueError(f"{text!r} is not client:NAME, workflow:ID or partition:NAME")
    return OwnerKind(kind), name


def _moment(text: str) -> int:
    """`now`, or a time ahead."""
    now_ms = SystemClock().now_ms()
    return now_ms if text.strip() == "now" else times.parse_deadline_ms(text, now_ms)


OWNER = v.Written("owner", _owner, tuple(f"{kind}:" for kind in FOR))
MOMENT = v.Written("time", _moment, ("now",))


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(list(names), **settings)


def _which() -> list[click.Parameter]:
    """Which nodes, and when."""
    return [
        _option("--nodes", metavar="NODE[,NODE]", multiple=True, shell_complete=complete_nodes, help="These nodes."),
        _option(
            "--partition", default="", metavar="PARTITION", shell_complete=complete_partitions, help="Of a partition."
        ),
        _option(
            "--attr",
            "attributes",
            type=v.ATTRIBUTE,
            metavar="NAME=VALUE[,VALUE]",
            multiple=True,
            help="Nodes with one of these values.",
        ),
        _option("--all-nodes", "whole_farm", is_flag=True, help="Any node of the farm."),
        _option("--count", type=v.whole(1), metavar="N", help="So many of those, where it does the least harm."),
        _option(
            "--cores", "millicores", type=v.MILLICORES, metavar="N", help="As many of those as have so many cores."
        ),
        _option("--from", "start_ms", type=MOMENT, metavar="TIME", help="now, +2h, 18:00 or ISO 8601. Default: now."),
        _option("--until", "end_ms", type=MOMENT, metavar="TIME", help="+6h, 22:00 or ISO 8601."),
        _option("--every", "every_ms", type=v.DURATION, metavar="TIME", help="Again and again: 1d, 7d, 12h."),
        _option("--times", type=v.whole(1), metavar="N", help="So many times in all. Default: for ever."),
        _option("--last", "until_ms", type=MOMENT, metavar="TIME", help="No window begins at or after this time."),
        _option("--force", is_flag=True, help="Although work would be lost, or the nodes are reserved."),
        _option("--dry-run", is_flag=True, help="Change nothing; show what is in the way, and who would be hurt."),
        _option("--why", default="", help="Say why; it is kept in the log."),
        data_option(),
        json_option(),
    ]


def _epilog(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _make_reservation(
    data_dir: Any, as_json: bool, for_: tuple[OwnerKind, str] | None, lasts_ms: int | None, follow: bool, **wish: Any
) -> int | None:
    """Set nodes aside for a client, a workflow or a partition; nobody else starts there meanwhile."""
    if for_ is None:
        raise click.UsageError("say for whom: --for client:NAME, workflow:ID or partition:NAME")
    kind, name = for_
    return _book(Desk(data_dir, as_json), lambda door: Owner(kind, resolve(door, kind, name)), lasts_ms, follow, **wish)


def _make_maintenance(data_dir: Any, as_json: bool, lasts_ms: int | None, **wish: Any) -> int | None:
    """Take nodes out of service for a time; they come back by themselves.

    Nothing starts that would still run then. What runs there saves its state and leaves in time, if it can.
    """
    return _book(Desk(data_dir, as_json), lambda door: MAINTENANCE, lasts_ms, False, **wish)


def _book(
    desk: Desk, owner_of: Callable[["Door"], Owner], lasts_ms: int | None, follows: bool, dry_run: bool, **wish: Any
) -> int | None:
    window = _window(desk.clock.now_ms(), wish.pop("start_ms"), wish.pop("end_ms"), lasts_ms)
    repeat = _repeat(wish.pop("every_ms"), wish.pop("times"), wish.pop("until_ms"))
    force, why = wish.pop("force"), wish.pop("why")
    with desk.door(write=not dry_run) as door:
        nodes = [resolve(door, "node", name) for text in wish.pop("nodes") for name in text.split(",")]
        command = MakeReservation(
            reservation_id=SystemIds().new("resv"),
            owner=owner_of(door),
            window=window,
            asked=Capacity(nodes=tuple(nodes), **wish),
            repeat=repeat,
            follows=follows,
            force=force,
            why=why,
        )
        if dry_run:
            found = door.get("/api/reservations/preview", wish=msgspec.json.encode(command).decode())
            desk.answer(found, lambda _: desk.print(*preview_page(found)))
            return None
        reply = door.handle([command])
        found = door.get(place("/api/reservations", command.reservation_id))
        desk.answer({**found["reservation"], "position": reply.position}, lambda _: made_text(found["reservation"]))
    return None


def _window(now_ms: int, start_ms: int | None, end_ms: int | None, lasts_ms: int | None) -> TimeRange:
    """From when until when; a usage error unless exactly one of the two ways to say until when is used."""
    if (end_ms is None) is (lasts_ms is None):
        raise click.UsageError("say until when, by --until or by how long it lasts, and not both")
    start_ms = now_ms if start_ms is None else start_ms
    return TimeRange(start_ms, start_ms + (lasts_ms or 0) if end_ms is None else end_ms)


def _repeat(every_ms: int | None, count: int | None, until_ms: int | None) -> Repetition | None:
    if every_ms is None:
        if count is not None or until_ms is not None:
            raise click.UsageError("--times and --last need --every")
        return None
    return Repetition(every_ms, count, until_ms)


class Booking(click.Group):
    """A group that does something by itself when no subcommand is named."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to use it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS]")
        if self.commands:
            formatter.write_usage(ctx.command_path, "|".join(self.commands) + " [OPTIONS] ...")


def _reserve(ctx: click.Context, **options: Any) -> int | None:
    if ctx.invoked_subcommand is not None:
        return None
    return _make_reservation(**options)


reserve = Booking(
    "reserve",
    callback=click.pass_context(_reserve),
    invoke_without_command=True,
    help=_make_reservation.__doc__,
    params=[
        _option("--for", "for_", type=OWNER, metavar="client:NAME|workflow:ID|partition:NAME", help="For whom."),
        *_which(),
        _option("--lasts", "lasts_ms", type=v.DURATION, metavar="TIME", help="In place of --until: 90m, 4h, 2d."),
        _option("--follow", is_flag=True, help="End with the workflow, should that be before the end of the window."),
    ],
    epilog=_epilog(
        "milepost reserve --for client:show --nodes n1,n2 --from 22:00 --until +12h",
        "milepost reserve --for workflow:wf-01kx… --all-nodes --cores 64 --lasts 2d --follow",
        "milepost reserve --for client:lab --partition gpu --count 2 --lasts 4h --every 7d --times 8 --dry-run",
    ),
)

maintenance = click.Command(
    "maintenance",
    callback=_make_maintenance,
    help=_make_maintenance.__doc__,
    params=[
        *_which(),
        _option("--for", "lasts_ms", type=v.DURATION, metavar="TIME", help="In place of --until: 90m, 4h, 2d."),
    ],
    epilog=_epilog(
        "milepost maintenance --nodes n1 --from 22:00 --for 4h --why 'new disk'",
        "milepost maintenance --all-nodes --from 2026-03-01T06:00 --for 4h --every 7d --dry-run",
    ),
)


# -- those that there are ----------------------------------------------------------------------------------------


@verb("list", "milepost reserve list", "milepost reserve list --at -1h", "milepost reserve list --all --json")
@click.option("--all", "all_", is_flag=True, help="Those that are over, too.")
@at_option
def list_reservations(desk: Desk, all_: bool, at: str | None) -> None:
    """Show what is set aside: for whom, where and when."""
    with desk.door() as door:
        found = door.get("/api/reservations", **given({"all": all_ or None, "at": at}))
        desk.answer(found, table_of)


@verb("show", "milepost reserve show resv-01kx…")
@named
def show_reservation(desk: Desk, reservation: str) -> None:
    """Show one reservation, and what has become of it."""
    with desk.door() as door:
        found = door.get(place("/api/reservations", resolve(door, "reservation", reservation)))
        desk.answer(found, page)


@verb("end", "milepost reserve end resv-01kx… --why 'done early'")
@named
@why_option
def end_reservation(desk: Desk, reservation: str, why: str) -> None:
    """End the window that has begun; those that are to come stay."""
    _change(desk, reservation, lambda found: EndReservation(reservation_id=found, why=why), "ended")


@verb("cancel", "milepost reserve cancel resv-01kx…")
@named
@why_option
def cancel_reservation(desk: Desk, reservation: str, why: str) -> None:
    """Set the nodes aside no longer, now and later."""
    _change(desk, reservation, lambda found: CancelReservation(reservation_id=found, why=why), "cancelled")


@verb("extend", "milepost reserve extend resv-01kx… --until +2h --why 'the disk is late'")
@named
@click.option("--until", "end_ms", type=MOMENT, metavar="TIME", required=True, help="+2h, 22:00 or ISO 8601.")
@force_option
@why_option
def extend_reservation(desk: Desk, reservation: str, end_ms: int, force: bool, why: str) -> None:
    """Let the present window, or the next one, end at another time."""

    def make(found: str) -> ChangeReservation:
        return ChangeReservation(reservation_id=found, end_ms=end_ms, force=force, why=why)

    _change(desk, reservation, make, "ends at another time")


for command in (list_reservations, show_reservation, end_reservation, cancel_reservation, extend_reservation):
    reserve.add_command(command)


def _change(desk: Desk, text: str, make: Callable[[str], Any], said: str) -> None:
    with desk.door(write=True) as door:
        found = resolve(door, "reservation", text)
        reply = door.handle([make(found)])
        answer = {"reservation_id": found, "changed": reply.events > 0, "position": reply.position}
        desk.answer(answer, lambda _: f"{found}  {said}" + ("" if reply.events else " (as before)"))
