"""The tariffs that were in force, one after the other: what a kilowatt cost between any two moments."""

from bisect import bisect_right
from collections.abc import Iterable

from domain.tariff import Tariff

FREE = Tariff()


class Bill:
    """Tariffs by the moment of their adoption; before the first one energy costs nothing."""

    def __init__(self, tariffs: Iterable[tuple[int, Tariff]] = ()) -> None:
        self._from_ms: list[int] = []
        self._tariffs: list[Tariff] = []
        for from_ms, tariff in tariffs:
            self.adopt(from_ms, tariff)

    def adopt(self, from_ms: int, tariff: Tariff) -> None:
        """Another tariff holds from a moment on. One before the last adoption counts as that: time does not go back."""
        self._from_ms.append(max(from_ms, self._from_ms[-1]) if self._from_ms else from_ms)
        self._tariffs.append(tariff)

    @property
    def present(self) -> Tariff:
        """The last one."""
        return self._tariffs[-1] if self._tariffs else FREE

    def at(self, at_ms: int) -> Tariff:
        """The one in force at a moment."""
        number = bisect_right(self._from_ms, at_ms)
        return self._tariffs[number - 1] if number else FREE

    def currencies(self, from_ms: int, until_ms: int) -> tuple[str, ...]:
        """What the tariffs of a span are in, in their order; those without prices left out."""
        first, last = bisect_right(self._from_ms, from_ms), bisect_right(self._from_ms, until_ms - 1)
        found = [FREE, *self._tariffs][first : last + 1]
        return tuple(dict.fromkeys(tariff.currency for tariff in found if tariff != FREE))

    def price_hours(self, from_ms: int, until_ms: int) -> float:
        """The price integrated over a span, in currency × hours per kWh; 0 for one that ends before it begins."""
        total, number = 0.0, bisect_right(self._from_ms, from_ms)
        while from_ms < until_ms:
            end_ms = min(until_ms, self._from_ms[number]) if number < len(self._from_ms) else until_ms
            if number and end_ms > from_ms:
                total += self._tariffs[number - 1].price_hours(from_ms, end_ms)
            from_ms, number = end_ms, number + 1
        return total
