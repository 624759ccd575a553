"""How amounts and durations are said in English, alike in refusals, in messages of attempts and in read models."""

from collections.abc import Sequence

from domain.resources import AttributeNeed

LIST_AT_MOST = 4
"""Longer lists are cut, and say how many more there are."""


def amount(resource: str, quantity: int) -> str:
    """A quantity of a resource with its unit: `2.5 cores`, `8 GiB memory`, `3 houdini licences` as `3 houdini`."""
    if resource == "millicores":
        return plural(quantity / 1000, "core")
    if resource in ("memory_mib", "storage_mib"):
        return f"{size_text(quantity)} {resource.removesuffix('_mib')}"
    if resource == "network_mbps":
        return f"{quantity} Mbit/s network"
    if resource == "gpus":
        return plural(quantity, "GPU")
    if resource in ("tasks", "nodes", "slots"):
        return plural(quantity, resource.removesuffix("s"))
    return f"{quantity} {resource}"


def size_text(mib: int) -> str:
    """A size given in MiB, in the largest unit that it fills: `512 MiB`, `8 GiB`, `1.5 TiB`."""
    value, unit = float(mib), "MiB"
    for larger in ("GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{_number(value)} {unit}"


def duration_text(ms: int) -> str:
    """A duration in its two largest units: `850 ms`, `12.3 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{_number(ms / 1000)} s"
    seconds = ms // 1000
    for size, unit, part, part_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {part_unit}" if rest else "")
    raise AssertionError("a minute or more has a unit")


def plural(quantity: float, unit: str) -> str:
    """A count and its unit: `1 job`, `3 jobs`, `2.5 cores`."""
    return f"{_number(quantity)} {unit}" if quantity == 1 else f"{_number(quantity)} {unit}s"


def listed(names: Sequence[str]) -> str:
    """Names joined by commas, cut after a few: `a, b, c, d and 12 more`."""
    if len(names) <= LIST_AT_MOST:
        return ", ".join(names)
    return f"{', '.join(names[:LIST_AT_MOST])} and {len(names) - LIST_AT_MOST} more"


def need_text(need: AttributeNeed) -> str:
    """A demand on an attribute with the values wanted: `render.engine cycles or karma`."""
    parts = [" or ".join(need.any_of), " and ".join(need.all_of)]
    return " ".join([need.name, " and ".join(part for part in parts if part)]).rstrip()


def _number(value: float) -> str:
    """At most two digits after the point, none for a whole number."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
