"""What a checkpoint's artefact holds: the checkpoint, and the job's state whole or as a difference to another's."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from common.core.jobs import Checkpoint
from common.core.utils import serialize_model
from common.plain import from_plain, to_plain
from common.seeing import class_name, rebuilt


class Artefact(NamedTuple):
    """One artefact, decoded."""

    checkpoint: dict[str, Any]
    job_state: dict[str, Any] | None
    """The whole state, or what differs from `base`; None for one without state."""
    job_class: str
    base: str | None = None
    """The id of the checkpoint that it is a difference to."""
    removed: tuple[str, ...] = ()
    """Fields that the base has and this one has not."""

    def encode(self) -> bytes:
        """As it is stored."""
        return json.dumps(self._asdict(), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Artefact":
        """What was stored; ValueError or KeyError if that is no artefact."""
        told = json.loads(data)
        if not isinstance(told, dict):
            raise ValueError("it is not a JSON object")
        removed = tuple(told.get("removed") or ())
        return cls(told["checkpoint"], told["job_state"], told.get("job_class") or "", told.get("base"), removed)


def sha256(data: bytes) -> str:
    """The hash of an artefact."""
    return hashlib.sha256(data).hexdigest()


def state_of(job: Any) -> dict[str, Any]:
    """A job as plain values."""
    state: dict[str, Any] = to_plain(serialize_model(job))
    return state


def full(checkpoint: Checkpoint, job: Any, state: Mapping[str, Any] | None) -> Artefact:
    """An artefact that stands alone."""
    return Artefact(serialize_model(checkpoint), None if state is None else dict(state), class_name(type(job)))


def difference(
    checkpoint: Checkpoint, job: Any, state: Mapping[str, Any], base_id: str, base: Mapping[str, Any]
) -> Artefact:
    """An artefact that only holds what differs from another state."""
    changed = {name: value for name, value in state.items() if name not in base or base[name] != value}
    removed = tuple(name for name in base if name not in state)
    return Artefact(serialize_model(checkpoint), changed, class_name(type(job)), base_id, removed)


def merged(base: Mapping[str, Any], artefact: Artefact) -> dict[str, Any]:
    """The whole state that a difference stands for."""
    kept = {name: value for name, value in base.items() if name not in artefact.removed}
    return kept | (artefact.job_state or {})


def job_of(state: Mapping[str, Any], kind: str) -> Any:
    """The job of a state, in its class if this process has it."""
    return rebuilt(from_plain(dict(state)), kind)
