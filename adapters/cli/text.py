"""Text from people and programs, made fit for one line of a terminal."""

MAX_LINE_CHARS = 1_000


def plain(text: str) -> str:
    """The text on one line, control characters replaced, so that nothing in it can steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else (" " if char in "\n\t" else "·") for char in text)


def one_line(text: str, most: int = MAX_LINE_CHARS) -> str:
    """The text without line breaks and repeated blanks, cut where nobody reads on."""
    words = " ".join(plain(text).split())
    return words if len(words) <= most else words[: most - 1] + "…"
