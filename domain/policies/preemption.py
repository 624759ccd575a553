"""Preemption: what happens to running work when work that comes before it finds no room.

Four modes that differ in what becomes of the victims, with the same rules for who may be one and which are chosen.
Requeue, suspend and checkpoint are those of the `PreemptMode` of Slurm and of the preemption of Borg (Verma et al.,
EuroSys 2015); the choice of victims by what is lost follows checkpoint-aware preemption (Li et al., SC'14).
"""

from typing import Annotated

import msgspec

from domain.job.values import PreemptionMode
from domain.messages import Value
from domain.policies import register

Levels = Annotated[float, msgspec.Meta(gt=0, le=1_000)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=31_536_000)]
CoolDown = Annotated[int, msgspec.Meta(ge=1, le=31_536_000)]
"""At least a second, so that time passes before the same task makes way again."""
Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=876_000)]
Victims = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class _Interrupting(Value, frozen=True):
    """What all modes that interrupt have in common."""

    levels: Levels = 1.0
    """How many levels of priority a job must stand above those that make way for it."""
    grace_s: Seconds | None = None
    """Between telling a victim to end and killing it; none means as its own job says."""
    lost_weight: Weight = 1.0
    """What one processor hour that is to be done again costs, in the choice of victims."""
    slack_weight: Weight = 1.0
    """What it costs to interrupt an attempt whose job has no slack to its deadline; less with more, 0 from a day on."""
    protect_longer_than_h: Hours = 168.0
    """Work that asked for more time than this, or has run longer, is interrupted only if a contract of its own, or of
    its client, says when it may be."""
    most_victims: Victims = 100
    """How many attempts make way in one cycle at most."""
    deadlines: bool = False
    """Whether a job that would miss its deadline may take room from jobs that stand no higher and have the time."""
    deadline_window_s: Seconds = 900
    """How long before the last moment at which it could still start in time it begins to."""
    cool_down_s: CoolDown = 600
    """For how long a task that was preempted n times runs, at least, before it is again: n times this."""


class Undisturbed(_Interrupting, frozen=True):
    """Running work is left alone. Room that was claimed before is still held, and suspended work still goes on."""

    mode = PreemptionMode.NONE


class Requeue(_Interrupting, frozen=True):
    """Victims are told to end within their grace period and wait again; what they did not save is done again."""

    mode = PreemptionMode.REQUEUE


class Suspend(_Interrupting, frozen=True):
    """Victims stand still where they are: they keep memory, GPUs and named resources, and give back their cores."""

    mode = PreemptionMode.SUSPEND


class Checkpoint(_Interrupting, frozen=True):
    """Victims are jobs that can save their state when told to end; they wait to go on from there."""

    mode = PreemptionMode.CHECKPOINT


register("preemption", "none", Undisturbed)
register("preemption", "requeue", Requeue)
register("preemption", "suspend", Suspend)
register("preemption", "checkpoint", Checkpoint)
