"""Tariff: what a kilowatt-hour costs at any moment, by windows of the day and the week.

All times are minutes of a local day at a fixed offset from UTC, so that a bill needs no table of time zones; where the
clocks change twice a year, a tariff is adopted anew twice a year. Where windows overlap, the first one counts.
"""

from domain import errors
from domain.messages import Value

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MIN = 1_440
DAY_MS = DAY_MIN * MINUTE_MS
WEEK_MS = 7 * DAY_MS
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; 0 is Monday."""


class PriceWindow(Value, frozen=True):
    """A price between two times of the day."""

    from_min: int
    until_min: int
    """Below `from_min` for one that goes over midnight; then the weekday is that of its beginning."""
    price: float
    """Per kilowatt-hour, in the tariff's currency."""
    days: tuple[int, ...] = ()
    """The days of the week on which it begins, 0 for Monday; empty for every day."""

    def covers(self, weekday: int, minute: int) -> bool:
        """Whether it is in force at a minute of a local day."""
        if self.from_min < self.until_min:
            return self.from_min <= minute < self.until_min and self._begins_on(weekday)
        if minute >= self.from_min:
            return self._begins_on(weekday)
        return minute < self.until_min and self._begins_on((weekday - 1) % 7)

    def _begins_on(self, weekday: int) -> bool:
        return not self.days or weekday in self.days


class Tariff(Value, frozen=True):
    """Prices per kilowatt-hour; without windows the same always."""

    price: float = 0.0
    """Outside all windows."""
    windows: tuple[PriceWindow, ...] = ()
    utc_offset_min: int = 0
    """Local time minus UTC."""
    currency: str = ""
    """What prices are in, for people."""

    def check(self) -> None:
        """PolicyInvalid for prices below zero, times that no day has, and a window without length."""
        if min([self.price, *(window.price for window in self.windows)]) < 0:
            raise errors.PolicyInvalid(problem="tariff: a price is below zero")
        if abs(self.utc_offset_min) > DAY_MIN:
            raise errors.PolicyInvalid(problem="tariff: local time is more than a day from UTC")
        for window in self.windows:
            times, days = (window.from_min, window.until_min), window.days
            if min(times) < 0 or max(times) > DAY_MIN or not set(days) <= set(range(7)):
                raise errors.PolicyInvalid(problem="tariff: a window has minutes beyond 0..1440 or days beyond 0..6")
            if window.from_min == window.until_min:
                at = f"{window.from_min // 60:02}:{window.from_min % 60:02}"
                raise errors.PolicyInvalid(problem=f"tariff: the window at {at} ends when it begins")

    @property
    def varies(self) -> bool:
        """Whether there is more than one price."""
        return len({self.price, *(window.price for window in self.windows)}) > 1

    @property
    def lowest(self) -> float:
        """The lowest price that ever holds."""
        return min([price for _, price in self._steps()])

    def price_at(self, at_ms: int) -> float:
        """The price of a kilowatt-hour at a moment."""
        return self._price_in_week(self._minute_of_week(at_ms))

    def next_change_ms(self, at_ms: int) -> int | None:
        """The first moment after `at_ms` with another price; None if there is but one."""
        price, steps = self.price_at(at_ms), self._steps()
        week_ms = self._week_ms(at_ms)
        for start_ms in (week_ms, week_ms + WEEK_MS):
            for minute, after in steps:
                moment_ms = start_ms + minute * MINUTE_MS
                if moment_ms > at_ms and after != price:
                    return moment_ms
        return None

    def price_hours(self, from_ms: int, until_ms: int) -> float:
        """The price integrated over a span, in currency × hours per kWh: times kilowatts it is what they cost."""
        if until_ms <= from_ms:
            return 0.0
        if not self.windows:
            return self.price * (until_ms - from_ms) / HOUR_MS
        return self._since_week(until_ms) - self._since_week(from_ms) + self._weeks_between(from_ms, until_ms)

    def cost(self, watts: float, from_ms: int, until_ms: int) -> float:
        """What drawing so many watts costs over a span, in the tariff's currency."""
        return watts / 1_000 * self.price_hours(from_ms, until_ms)

    # -- one week ------------------------------------------------------------------------------------------------

    def _weeks_between(self, from_ms: int, until_ms: int) -> float:
        weeks = (self._week_ms(until_ms) - self._week_ms(from_ms)) // WEEK_MS
        return weeks * self._over(WEEK_MS) if weeks else 0.0

    def _since_week(self, at_ms: int) -> float:
        return self._over(at_ms - self._week_ms(at_ms))

    def _over(self, span_ms: int) -> float:
        """The price integrated over so much of a week from its beginning."""
        total, steps = 0.0, self._steps()
        for at, (minute, price) in enumerate(steps):
            start_ms = minute * MINUTE_MS
            end_ms = steps[at + 1][0] * MINUTE_MS if at + 1 < len(steps) else WEEK_MS
            if start_ms >= span_ms:
                break
            total += price * (min(end_ms, span_ms) - start_ms)
        return total / HOUR_MS

    def _steps(self) -> tuple[tuple[int, float], ...]:
        """(minute of the week, price from then on), the first at 0."""
        known = _STEPS.get(self)
        if known is None:
            edges = {0}
            for day in range(7):
                for window in self.windows:
                    edges |= {day * DAY_MIN + window.from_min % DAY_MIN, day * DAY_MIN + window.until_min % DAY_MIN}
            known = tuple([(minute, self._price_in_week(minute)) for minute in sorted(edges)])
            if len(_STEPS) > _KEPT:
                _STEPS.clear()
            _STEPS[self] = known
        return known

    def _price_in_week(self, minute: int) -> float:
        weekday, of_day = divmod(minute, DAY_MIN)
        return next((window.price for window in self.windows if window.covers(weekday, of_day)), self.price)

    def _minute_of_week(self, at_ms: int) -> int:
        return (at_ms - self._week_ms(at_ms)) // MINUTE_MS

    def _week_ms(self, at_ms: int) -> int:
        """When the local week of a moment began."""
        local_ms = at_ms + self.utc_offset_min * MINUTE_MS + EPOCH_WEEKDAY * DAY_MS
        return at_ms - local_ms % WEEK_MS


_KEPT = 64
_STEPS: dict[Tariff, tuple[tuple[int, float], ...]] = {}
"""A pure function's answers, by the tariff."""
