"""How sets of policies look in a terminal."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType

from adapters.cli.frame import Desk
from adapters.cli.render import Column, fields, heading, moment, table
from adapters.cli.text import one_line

Document = dict[str, Any]
VALUE_CHARS = 300


def set_page(found: Document) -> RenderableType:
    """The set in force at a moment."""
    own, now_ms = found["set"], found["at_ms"]
    since = "the start" if own["since_ms"] is None else moment(own["since_ms"], now_ms)
    facts = fields(
        [
            ("set", str(own["version"])),
            ("since", since),
            ("by", own["actor"]),
            ("why", own["why"]),
            ("measured", evidence_text(own)),
            ("changed", changes_text(own["changes"])),
        ]
    )
    columns = [Column("FAMILY"), Column("POLICY"), Column("NOT AS BY DEFAULT", flexible=True, wraps=True)]
    rows = [(each["family"], each["name"], pairs_text(each["differing"])) for each in found["families"]]
    parts: list[RenderableType] = [facts, heading("In force"), table(columns, rows)]
    if found["clients"]:
        columns = [Column("CLIENT"), *columns]
        lines = [(c["client_id"], c["family"], c["name"], pairs_text(c["differing"])) for c in found["clients"]]
        parts += [heading("For clients"), table(columns, lines)]
    return Group(*parts, heading("Tariff"), *_tariff(found))


def _tariff(found: Document) -> list[RenderableType]:

    said, currency = found["tariff"], found["tariff"]["currency"]
    if not said["price"] and "windows" not in said:
        return ["none; `milepost policy tariff FILE` says what energy costs"]
    until = f", until {moment(found['next_price_ms'], found['at_ms'])}" if found["next_price_ms"] else ""
    facts = fields(
        [
            ("now", f"{price_text(found['price'], currency)}{until}"),
            ("otherwise", price_text(said["price"], currency) if "windows" in said else ""),
            ("clock", f"UTC{said['utc_offset']}"),
        ]
    )
    if "windows" not in said:
        return [facts]
    columns = [Column("FROM"), Column("UNTIL"), Column("DAYS"), Column("PRICE", right=True)]
    rows = [
        (each["from"], each["until"], ", ".join(each.get("days", ["every day"])), price_text(each["price"], currency))
        for each in said["windows"]
    ]
    return [facts, table(columns, rows)]


def price_text(price: float, currency: str) -> str:
    """`0.12 EUR/kWh`."""
    return f"{price:g} {currency}/kWh" if currency else f"{price:g} per kWh"


def catalog_page(found: Document) -> RenderableType:
    """All policies that there are."""
    columns = [
        Column("FAMILY"),
        Column("POLICY"),
        Column("WHAT", flexible=True, least=30, wraps=True),
        Column("PARAMETERS", flexible=True, least=20, wraps=True, drop=1),
        Column("PLUG-IN", drop=2),
    ]
    rows = [
        (each["family"], each["name"], each["brief"], pairs_text(each["parameters"]), each["plugin"])
        for each in found["rows"]
    ]
    return table(columns, rows)


def adopted_page(found: Document, dry_run: bool) -> str:
    """What an adoption changed, or would change."""
    if not found["changes"]:
        return f"set {found['version']} stays in force: nothing differs"
    lines = [f"  {change_text(each)}" for each in found["changes"]]
    head = "would change:" if dry_run else f"set {found['version']} is in force from now on"
    return "\n".join([head, *lines])


def diff_page(found: Document) -> RenderableType:
    """Where two sets differ."""
    if not found["rows"]:
        return "The sets are the same."
    columns = [
        Column("KEY"),
        Column("FIRST", flexible=True, wraps=True),
        Column("SECOND", flexible=True, wraps=True),
    ]
    return table(columns, [(each["key"], *map(_said, (each["before"], each["after"]))) for each in found["rows"]])


def history_page(desk: Desk, found: Document) -> RenderableType:
    """All sets that were in force."""
    if found["total"] > len(found["rows"]):
        desk.note(f"{found['total'] - len(found['rows'])} more; --limit shows them")
    columns = [
        Column("SET", right=True),
        Column("SINCE"),
        Column("BY", drop=2),
        Column("WHAT CHANGED", flexible=True, least=30, wraps=True),
        Column("WHY", drop=1, flexible=True, wraps=True),
    ]
    now_ms = desk.clock.now_ms()
    rows = [
        (
            str(each["version"]),
            "the start" if each["since_ms"] is None else moment(each["since_ms"], now_ms),
            each["actor"],
            changes_text(each["changes"]),
            "; ".join(filter(None, (each["why"], evidence_text(each)))),
        )
        for each in found["rows"]
    ]
    return table(columns, rows)


# -- words ---------------------------------------------------------------------------------------------------------


def changes_text(changes: list[Document]) -> str:
    """`order priority → edf, energy.idle_after_s 600`."""
    return ", ".join(map(change_text, changes))


def change_text(change: Document) -> str:
    """`order priority → edf`; without what is not said on one side."""
    before, after = (_said(change[side]) for side in ("before", "after"))
    if change["before"] is None:
        return f"{change['key']} {after}"
    return f"{change['key']} {before} → {after or 'as by default'}"


def evidence_text(line: Document) -> str:
    """What was measured, where an adoption rests on that."""
    return ", ".join(f"{each['candidate']} {each['objective']} {each['value']:.4g}" for each in line["evidence"])


def pairs_text(values: Document) -> str:
    """`idle_after_s=600 keep_idle=0`."""
    return " ".join(f"{name}={_said(value) or 'none'}" for name, value in values.items())


def _said(value: Any) -> str:
    """A value in as few words as tell it; empty for None."""
    if value is None:
        return ""
    return one_line(value if isinstance(value, str) and value else msgspec.json.encode(value).decode(), VALUE_CHARS)
