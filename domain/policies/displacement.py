"""Who may take whose place: the test that a waiting job must pass before a running one makes room for it.

Pure functions of ranks and times, for planners that move one job of a node aside for another. The core asks for levels
between two jobs instead, and weighs what is lost (`domain/rules/making_way.py`).
"""


def is_late(need: float, left: float, margin: float = 0.0) -> bool:
    """Whether work that needs so long, and a margin, cannot be done in the time left; equal units, equal is in time."""
    return need + margin > left


def displaces(waiting_rank: int, running_rank: int, late: bool, top: int) -> bool:
    """Whether a waiting job may stop a running one: the top rank any lower one, others only when they would be late."""
    return running_rank < waiting_rank and (late or waiting_rank == top)
