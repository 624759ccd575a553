"""A farm in a process of its own, on a store, which says what it is about to record, and dies where it is told to.

`dying_farm.py STORE SEED CALLS [before:N | after:N]`: plays so many random calls; before or after its N-th commit it
kills itself with SIGKILL. Each line on standard output is what the manager says at that moment: first `record`, before
every commit, then `done`, at the end of every call.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from adapters.bootstrap import open_direct
from application.app import Application
from render_farm_manager.core.manager import RenderFarmManager
from tests.facades.render_farm_manager.farms import client, node
from tests.facades.render_farm_manager.playing import Player, says_all


def tell(when: str, manager: RenderFarmManager) -> None:
    """One line, which has left this process when this returns."""
    os.write(1, (json.dumps({"when": when, "says": says_all(manager)}) + "\n").encode())


def watch(app: Application, manager: RenderFarmManager, death: str) -> None:
    """Says what is about to be committed, and dies before or after that."""
    point, _, number = death.partition(":")
    left, commit = int(number or 0), app.commit_all

    def commit_all(*requests: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        tell("record", manager)
        if left == 0 and point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = commit(*requests, **more)
        if left == 0 and point == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    app.commit_all = commit_all  # type: ignore[method-assign]


def main(data: str, seed: str, calls: str, death: str = "") -> None:
    """Plays, and closes the store if it is still alive."""
    store = open_direct(Path(data))
    manager = RenderFarmManager(app=store.app)
    watch(store.app, manager, death)
    for part in (client(), client("c2", guaranteed=30)):
        manager.add_client(part)
    for name in ("n1", "n2"):
        manager.add_node(node(name))
    player = Player(int(seed), manager, meddling=False)
    for _ in range(int(calls)):
        player.play()
        tell("done", manager)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
