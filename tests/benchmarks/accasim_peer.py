"""accasim 1.1.3 (Galleguillos et al., 2017; MIT), a simulator of dispatching in Python, on a trace of its own format.

It runs `EASYBackfilling` with the allocator `FirstFit` on one group of equal nodes, a core per processor asked for,
all its outputs switched off. It keeps no events and no reasons, just the wait of each job.

Its EASY does not protect the head: the list of reserved nodes is passed on empty, so whatever fits starts, and the head
is not looked at before the second that was first computed for it. Where requests are exact its schedule is that of
greedy backfilling. That is less work than EASY, and is left as it is.

It was written for Python up to 3.9, where `collections` still had `Mapping`; here it is put back before the import.
"""

import collections
import collections.abc
import importlib
import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def is_installed() -> bool:
    """Whether accasim can be run at all."""
    return find_spec("accasim") is not None


class Peer:
    """One simulation, which can be run once."""

    def __init__(self, simulator: Any) -> None:
        self._simulator = simulator
        self._waits: list[int] = simulator.mapper.wtimes

    def run(self) -> None:
        """From the first line of the file to the end of the last job."""
        self._simulator.start_simulation()

    def waits(self) -> list[int]:
        """Seconds from submission to start, one per job that ended."""
        return self._waits


def prepare(swf: Path, directory: Path, nodes: int, cores: int) -> Peer:
    """accasim ready to simulate a file on equal nodes; its configuration is written to a directory."""
    if not hasattr(collections, "Mapping"):
        setattr(collections, "Mapping", collections.abc.Mapping)  # noqa: B010
    allocators, schedulers, simulators = (
        importlib.import_module(f"accasim.base.{name}_class") for name in ("allocator", "scheduler", "simulator")
    )
    config = directory / "machine.json"
    config.write_text(json.dumps(_machine(nodes, cores)))
    logging.getLogger("accasim").handlers.clear()  # each simulator adds its own
    simulator = simulators.Simulator(
        str(swf),
        str(config),
        schedulers.EASYBackfilling(allocators.FirstFit()),
        scheduling_output=False,
        statistics_output=False,
        show_statistics=False,
        RESULTS_FOLDER_PATH=str(directory),
        LOG_LEVEL="ERROR",
    )
    return Peer(simulator)


def _machine(nodes: int, cores: int) -> dict[str, Any]:
    return {
        "groups": {"all": {"core": cores}},
        "resources": {"all": nodes},
        "equivalence": {"processor": {"core": 1}},
        "start_time": 0,
    }
