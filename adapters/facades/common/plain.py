"""Values of callers as JSON has them, and back: what a record can hold."""

import json
from typing import Any

from common.core.utils import DateTimeEncoder, datetime_decoder


class _Encoder(DateTimeEncoder):
    """Objects that nobody can write down are kept as their text."""

    def default(self, o: Any) -> Any:
        """The plain value of anything."""
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def to_plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO text, durations and sets as in `DateTimeEncoder`."""
    return json.loads(json.dumps(value, cls=_Encoder))


def from_plain(value: Any) -> Any:
    """The same with times and durations as objects again."""
    return json.loads(json.dumps(value), object_hook=datetime_decoder)
