"""Files that attempts leave behind: is a checkpoint's artefact still what it was when it was taken?"""

import hashlib
from pathlib import Path


def verify(location: str, size_bytes: int, sha256: str) -> str:
    """What is wrong with the file, in a few words, or an empty string if it is the one that was recorded."""
    path = Path(location)
    try:
        if path.stat().st_size != size_bytes:
            return f"{location} has {path.stat().st_size} bytes, not {size_bytes} as recorded"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{location} cannot be read ({error.strerror})"
    return "" if found == sha256 else f"{location} has changed since it was recorded"
