"""Background loops of one process that stand and fall together: when one dies, all stop and somebody is told."""

import sys
import threading
import traceback
from collections.abc import Callable


class Loops:
    """Named threads, each running `target(stop)` until `stop` is set."""

    def __init__(self, explain: Callable[[BaseException], str | None] = lambda error: None) -> None:
        """`explain` says in one line what an operator can do about an error; any other is shown with its traceback."""
        self._explain = explain
        self._loops: list[Loop] = []
        self.failed = threading.Event()
        """Set when a loop ended with an error."""
        self.error: BaseException | None = None

    def start(
        self, name: str, target: Callable[[threading.Event], None], wake: Callable[[], None] | None = None
    ) -> "Loop":
        """Starts one loop; `wake` ends a wait of it early, so that it notices that it is to stop."""
        stop = threading.Event()
        thread = threading.Thread(target=self._guarded, args=(name, target, stop), name=name, daemon=True)
        loop = Loop(stop, thread, wake)
        self._loops.append(loop)
        thread.start()
        return loop

    def _guarded(self, name: str, target: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            target(stop)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it must not die in silence)
            self.error = error
            self._report(name, error)
            self.failed.set()

    def _report(self, name: str, error: BaseException) -> None:
        explained = self._explain(error)
        print(f"milepost: {name} stopped: {explained or error}", file=sys.stderr)
        if explained is None:
            traceback.print_exception(error)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Tells all loops to stop and waits for them."""
        for loop in self._loops:
            loop.tell()
        for loop in self._loops:
            loop.join(timeout_s)


class Loop:
    """One running loop."""

    def __init__(self, stop: threading.Event, thread: threading.Thread, wake: Callable[[], None] | None) -> None:
        self._stop, self._thread, self._wake = stop, thread, wake

    def tell(self) -> None:
        """Tells the loop to stop."""
        self._stop.set()
        if self._wake is not None:
            self._wake()

    def join(self, timeout_s: float) -> None:
        """Waits until it has."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Tells the loop to stop and waits for it."""
        self.tell()
        self.join(timeout_s)
