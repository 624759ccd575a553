"""How well a node suits a kind of job: what it was bought for, how much room it leaves, what it has shown.

Scores multiply, because advantages do; what was learned from past runs is blended in at the end. Pure functions of
numbers with the weights as parameters.
"""


def for_specialties(matching: int, base: float = 2.0, each: float = 0.7, most: float = 3.0) -> float:
    """The advantage of a node that is meant for so many of a job's specialties; 1 for none."""
    return base + min(each * matching, most) if matching > 0 else 1.0


def for_room(have: float, need: float, weight: float, most: float) -> float:
    """The advantage of having more than needed, up to `most` times it; less than 1 for less than needed."""
    return 1 + weight * (min(have / need, most) - 1)


def for_gpus(gpus: int, complexity: float, scale: float = 5.0, most: float = 2.0) -> float:
    """The advantage of GPUs for a job that needs one: the more complex the scene, the more."""
    return 1 + min(gpus * complexity / scale, most)


def blended(score: float, learned: float, weight: float) -> float:
    """A score drawn towards what was learned."""
    return score * (1 - weight) + learned * weight


def history_share(weight: float, stress: float = 1.2, most: float = 0.5) -> float:
    """How much of a score comes from history, at most half."""
    return min(weight * stress, most)


def averaged(before: float | None, now: float, rate: float) -> float:
    """The exponentially weighted mean after one more observation; the first one is taken as it is."""
    return now if before is None else (1 - rate) * before + rate * now


def speed_of(seconds_per_frame: float, usual_s: float = 60.0, least: float = 0.1, most: float = 10.0) -> float:
    """How fast frames came, 1 being one a minute; no time at all counts as a tenth of a second."""
    seconds = seconds_per_frame if seconds_per_frame > 0 else 0.1
    return max(least, min(most, usual_s / seconds))


def band(amount: float, bounds: tuple[tuple[float, str], ...], above: str) -> str:
    """The name of the band that an amount lies in: the first whose upper bound is above it."""
    return next((name for bound, name in bounds if amount < bound), above)
