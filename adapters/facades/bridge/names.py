"""Names that callers chose, as ids of the core: plain words, one for each name, the same every time.

A name that is plain already stays as it is. Anything else is spelled with `+…` where a letter is not plain, so that
no two names share an id and people still recognise theirs.
"""

import hashlib
import re
from functools import lru_cache

from domain.messages import SAFE_ID

_PLAIN = re.compile(r"[A-Za-z0-9_.@-]")
_LONGEST = 100


@lru_cache(maxsize=65_536)
def safe(name: str) -> str:
    """A name as a plain word. Only spelled names contain a `+`."""
    if "+" not in name and len(name) <= _LONGEST and SAFE_ID.fullmatch(name):
        return name
    spelled = "".join(letter if _PLAIN.match(letter) else f"+{ord(letter):x}." for letter in name)
    if not spelled or not (spelled[0].isalnum() or spelled[0] == "_"):
        spelled = f"x+.{spelled}"
    if len(spelled) > _LONGEST:
        return f"x+h.{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return spelled


@lru_cache(maxsize=65_536)
def job_id(name: str) -> str:
    """The id of a job: its name if that begins with `job-` already."""
    spelled = safe(name)
    if spelled.startswith("job-") and spelled == name:
        return name
    return f"job-+{spelled}"


node_id = safe
client_id = safe
