"""What ended attempts teach about run times: the last two of every client and kind, and means per class of node.

The model is the one of Tsafrir, Etsion & Feitelson (Backfilling using system-generated predictions rather than user
runtime estimates, TPDS 2007): the last two runs predict the next one about as well as anything longer. All amounts are
integers, so that a replay gives the same numbers; memory is bounded, and what was recorded longest ago is forgotten.
Only recording changes anything: a cycle that asks leaves it as it was.
"""

import hashlib
from typing import Any, TypeAlias

import msgspec

from domain.job.values import JobSpec
from domain.messages import ClientId, Value
from domain.node import Attributes
from domain.resources import Resources

MOST_KNOWN = 10_000
"""How many pairs of client and kind are remembered, and how many of class of node and kind."""
FADES_AT = 64
"""Once a mean is made of so many runs, all of them count half as much from then on."""
CLASS_ATTRIBUTE = "class"
"""The node attribute that names a node's class."""
_LONGEST_CLASS = 120
_DIGEST = 12


class Recent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The last runs of one client and kind, and how well they would have been predicted."""

    client_id: ClientId
    kind: str
    last_ms: int
    before_ms: int | None = None
    """The run before the last one."""
    checked: int = 0
    """How many runs could be compared with a prediction, the older ones fading."""
    missed_ms: int = 0
    """Sum of the distances between those runs and their predictions."""


class Mean(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The runs of one kind on one class of node, as a sum and a count."""

    node_class: str
    kind: str
    count: int = 0
    sum_ms: int = 0


class PerformanceState(Value, frozen=True):
    """All that was learned, as a farm snapshot stores it: what was recorded longest ago comes first."""

    recent: tuple[Recent, ...] = ()
    means: tuple[Mean, ...] = ()


class Performance:
    """What was learned from ended attempts at one log position; a fold of them, owned by the farm."""

    __slots__ = ("_means", "_most", "_recent")

    def __init__(self, state: PerformanceState | None = None, most: int = MOST_KNOWN) -> None:
        known = state or PerformanceState()
        self._most = most
        self._recent: dict[_Key, _Runs] = {
            (each.client_id, each.kind): [each.last_ms, each.before_ms, each.checked, each.missed_ms]
            for each in known.recent
        }
        self._means: dict[_Key, list[int]] = {
            (each.node_class, each.kind): [each.count, each.sum_ms] for each in known.means
        }
        """Both in the order in which they were recorded last; plain lists, because every success comes by here."""

    def record(self, client_id: ClientId, kind: str, node_class: str, run_ms: int) -> None:
        """Learns from an attempt that succeeded. One that ended before it started, by some clock, took no time."""
        if run_ms < 0:
            run_ms = 0
        recent, key = self._recent, (client_id, kind)
        runs = recent.pop(key, None)
        if runs is None:
            runs = [run_ms, None, 0, 0]
            if len(recent) == self._most:
                del recent[next(iter(recent))]
        else:
            _learn(runs, run_ms)
        recent[key] = runs
        means, key = self._means, (node_class, kind)
        mean = means.pop(key, None)
        if mean is None:
            mean = [1, run_ms]
            if len(means) == self._most:
                del means[next(iter(means))]
        else:
            mean[0], mean[1] = faded(mean[0] + 1, mean[1] + run_ms)
        means[key] = mean

    def last_two(self, client_id: ClientId, kind: str) -> tuple[int, ...]:
        """The last run times of a client and kind in ms, the newest first: two, one, or none."""
        runs = self._recent.get((client_id, kind))
        if runs is None:
            return ()
        return (runs[0],) if runs[1] is None else (runs[0], runs[1])

    def predicted_ms(self, client_id: ClientId, kind: str) -> int | None:
        """The average of the last two run times, rounded down; None when nothing is known."""
        runs = self._recent.get((client_id, kind))
        return None if runs is None else _predicted_ms(runs)

    def error_ms(self, client_id: ClientId, kind: str) -> int | None:
        """How far from the run times such predictions were on average; None while none could be checked."""
        runs = self._recent.get((client_id, kind))
        return runs[3] // runs[2] if runs is not None and runs[2] else None

    def mean_ms(self, node_class: str, kind: str) -> int | None:
        """The mean run time of a kind on a class of node, recent runs counting more; None when it never ran there."""
        mean = self._means.get((node_class, kind))
        return None if mean is None else mean[1] // mean[0]

    def count(self, node_class: str, kind: str) -> int:
        """How many runs that mean is made of: all of them up to FADES_AT, less than that many from then on."""
        mean = self._means.get((node_class, kind))
        return 0 if mean is None else mean[0]

    def state(self) -> PerformanceState:
        """All of it as one value, from which an equal one can be made."""
        return PerformanceState(
            tuple([Recent(client_id, kind, *runs) for (client_id, kind), runs in self._recent.items()]),
            tuple([Mean(node_class, kind, *mean) for (node_class, kind), mean in self._means.items()]),
        )


_Key: TypeAlias = tuple[str, str]
_Runs: TypeAlias = list[Any]
"""Last run, the one before or None, runs compared with a prediction, sum of the distances: see `Recent`."""


def _predicted_ms(runs: _Runs) -> int:
    last_ms, before_ms = runs[0], runs[1]
    predicted: int = last_ms if before_ms is None else (last_ms + before_ms) // 2
    return predicted


def _learn(runs: _Runs, run_ms: int) -> None:
    """One more run of a client and kind."""
    runs[2], runs[3] = faded(runs[2] + 1, runs[3] + abs(run_ms - _predicted_ms(runs)))
    runs[0], runs[1] = run_ms, runs[0]


def faded(count: int, total: int) -> tuple[int, int]:
    """A count and a sum, both halved once the count has reached FADES_AT: a mean that slowly forgets."""
    return (count, total) if count < FADES_AT else (count // 2, total // 2)


def kind_of(spec: JobSpec) -> str:
    """What sort of work a job is: what it says itself, else its name."""
    return spec.kind or spec.name


def node_class(attributes: Attributes, capacity: Resources) -> str:
    """Which nodes count as alike: by their attribute `class` if they have one, else by capacity and all attributes.

    The text is the same in whatever order attributes and values were given, and at most 120 characters long.
    """
    named = attributes.get(CLASS_ATTRIBUTE)
    if named:
        return _short("|".join(sorted(named)))
    amounts = [f"{name}={amount}" for name, amount in capacity.items()]
    others = [f"{name}={'|'.join(sorted(values))}" for name, values in sorted(attributes.items()) if values]
    return _short(" ".join(amounts + others))


def _short(text: str) -> str:
    """A text that is too long ends in a digest of the whole."""
    if len(text) <= _LONGEST_CLASS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{text[: _LONGEST_CLASS - _DIGEST - 1]}~{digest}"
