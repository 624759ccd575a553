"""What waits for a disk is done by threads, so that the loop goes on; what follows from it is done by the loop.

Several threads that sync files at the same time share the commits of the file system's journal.
"""

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Background:
    """A few threads, and a bell in the loop's selector."""

    def __init__(self, selector: selectors.BaseSelector, threads: int) -> None:
        self._todo: SimpleQueue[Callable[[], Callable[[], None]]] = SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        selector.register(self._bell, selectors.EVENT_READ, self._finish)
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def do(self, work: Callable[[], T], then: Callable[[T | OSError], None]) -> None:
        """Do `work` in a thread, then `then` in the loop, with the result or with what the system refused."""
        self._todo.put(partial(_outcome, work, then))

    def _work(self) -> None:
        while True:
            self._done.append(self._todo.get()())
            os.eventfd_write(self._bell, 1)

    def _finish(self) -> None:
        os.eventfd_read(self._bell)
        while self._done:
            self._done.popleft()()


def _outcome(work: Callable[[], T], then: Callable[[T | OSError], None]) -> Callable[[], None]:
    """What the loop has to do when this work is done."""
    try:
        return partial(then, work())
    except OSError as error:
        return partial(then, error)
    except Exception as error:  # noqa: BLE001 (a mistake in our own code: raised again where it is seen)
        return partial(_fail, error)


def _fail(error: Exception) -> NoReturn:
    raise error
