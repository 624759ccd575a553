"""Background loops of one process that stand and fall together: when one dies, all stop and somebody is told."""

import sys
import threading
import traceback
from collections.abc import Callable


class Loops:
    """Named threads, each running `target(stop)` until `stop` is set."""

    def __init__(self) -> None:
        self._groups: list[tuple[threading.Event, threading.Thread]] = []
        self.failed = threading.Event()
        """Set when a loop ended with an error."""
        self.error: BaseException | None = None

    def start(self, name: str, target: Callable[[threading.Event], None]) -> "Loop":
        """Starts one loop."""
        stop = threading.Event()
        thread = threading.Thread(target=self._guarded, args=(name, target, stop), name=name, daemon=True)
        self._groups.append((stop, thread))
        thread.start()
        return Loop(stop, thread)

    def _guarded(self, name: str, target: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            target(stop)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it must not die in silence)
            self.error = error
            print(f"milepost: {name} stopped: {error}", file=sys.stderr)
            traceback.print_exc()
            self.failed.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Tells all loops to stop and waits for them."""
        for stop, _ in self._groups:
            stop.set()
        for _, thread in self._groups:
            if thread is not threading.current_thread():
                thread.join(timeout_s)


class Loop:
    """One running loop."""

    def __init__(self, stop: threading.Event, thread: threading.Thread) -> None:
        self._stop, self._thread = stop, thread

    def stop(self, timeout_s: float = 10.0) -> None:
        """Tells the loop to stop and waits for it."""
        self._stop.set()
        self._thread.join(timeout_s)
