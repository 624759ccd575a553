"""States as snapshots keep them: named after their shape, so that code with another shape never reads them.

A snapshot is a cache. One of another shape is not looked at, and one that cannot be read counts as absent.
"""

from hashlib import blake2s
from typing import Any, TypeVar

import msgspec

State = TypeVar("State")


_fingerprints: dict[type[Any], str] = {}
"""Made when first asked for, each once."""


def topic_of(name: str, state: type[Any]) -> str:
    """How snapshots of such a state are called in the store, as in `job.snapshot/5f0c2a9be1d74c36`."""
    if state not in _fingerprints:
        shape = msgspec.json.encode(_bare(msgspec.json.schema(state)), order="sorted")
        _fingerprints[state] = blake2s(shape, digest_size=8).hexdigest()
    return f"{name}/{_fingerprints[state]}"


def _bare(shape: Any) -> Any:
    """A schema without its prose: rewording a docstring leaves the shape as it was."""
    if isinstance(shape, dict):
        prose = isinstance(shape.get("description"), str)
        return {key: _bare(part) for key, part in shape.items() if not (prose and key == "description")}
    return [_bare(part) for part in shape] if isinstance(shape, list | tuple) else shape


def read(data: bytes, state: type[State]) -> State | None:
    """The state in a snapshot; None for one that cannot be read, for the log can replace it."""
    try:
        return msgspec.msgpack.decode(data, type=state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
