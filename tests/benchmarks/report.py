"""The table of results, for people and for programs."""

import json
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.harness import Result

_HEADINGS = ("row", "floor", "ratio", "min – max", "accept", "goal", "verdict", "floor's rate", "our rate")


def table(results: Sequence[Result]) -> str:
    """Aligned columns, one line per row."""
    lines = [_HEADINGS, *(_cells(result) for result in results)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _cells(result: Result) -> tuple[str, ...]:
    sign = "× faster" if result.faster else "×"
    return (
        result.what,
        result.floor,
        f"{result.ratio:.2f}{sign}",
        f"{min(result.ratios):.2f} – {max(result.ratios):.2f}",
        _limit(result.accept),
        _limit(result.goal),
        result.verdict,
        _rate(result.floor_rate, result.unit),
        _rate(result.our_rate, result.unit),
    )


def _limit(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}×"


def _rate(per_second: float, unit: str) -> str:
    """Units per second, or the time of one where it takes longer than a tenth of a millisecond times ten."""
    if per_second < 100:
        return f"{1_000 / per_second:,.1f} ms a {unit}"
    return f"{per_second:,.0f} {unit}s/s"


def as_json(results: Sequence[Result]) -> str:
    """The same for programs: one object per row."""
    return json.dumps([_object(result) for result in results], indent=2)


def _object(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "what": result.what,
        "floor": result.floor,
        "ratio": round(result.ratio, 3),
        "min": round(min(result.ratios), 3),
        "max": round(max(result.ratios), 3),
        "faster": result.faster,
        "accept": result.accept,
        "goal": result.goal,
        "verdict": result.verdict,
        "rounds": len(result.ratios),
        "unit": result.unit,
        "floor_per_second": round(result.floor_rate, 3),
        "ours_per_second": round(result.our_rate, 3),
    }
