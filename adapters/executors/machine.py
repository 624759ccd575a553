"""This machine as nodes: what it has, divided among any number of logical nodes."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from domain.messages import NodeId, Value
from domain.resources import Resources

MIN_MILLICORES = 1_000
_ARCHITECTURES = {"aarch64": "arm64", "amd64": "x86_64"}
"""Kernel names that differ from those of Open Job Description ("Template Schemas", `attr.worker.cpu.arch`)."""


class LocalNode(Value, frozen=True):
    """A share of this machine that is planned as a node of its own."""

    node_id: NodeId
    capacity: Resources
    attributes: dict[str, tuple[str, ...]] = {}


def machine_nodes(count: int = 1) -> tuple[LocalNode, ...]:
    """This machine in `count` equal nodes `node-1`, `node-2`, …

    Each has at least one core of 1000 millicores, so more nodes than cores share cores. GPUs are not divided: the
    first nodes get one more when they do not come out even. Limits of the container count, where there are any.
    """
    if count < 1:
        raise ValueError("there has to be at least one node")
    gpus = gpu_models()
    return tuple(_share(index, count, gpus) for index in range(count))


def _share(index: int, count: int, gpus: list[str]) -> LocalNode:
    own_gpus = len(gpus) // count + (index < len(gpus) % count)
    capacity = Resources(
        millicores=max(MIN_MILLICORES, millicores() // count), memory_mib=memory_mib() // count, gpus=own_gpus
    )
    attributes: dict[str, tuple[str, ...]] = {
        "worker.os.family": ("linux",),
        "worker.cpu.arch": (architecture(),),
        "worker.hostname": (socket.gethostname(),),
    }
    if own_gpus:
        attributes["worker.gpu.model"] = tuple(sorted(set(gpus)))
    return LocalNode(f"node-{index + 1}", capacity, attributes)


def architecture() -> str:
    """The processor's kind in the words of Open Job Description: `x86_64` or `arm64`."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def millicores() -> int:
    """Processor time that this process may use."""
    cores = 1_000 * len(os.sched_getaffinity(0))
    return min([cores, *_cgroup_millicores()])


def memory_mib() -> int:
    """Memory that this process may use, physical or as its container allows."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    physical_mib = int(fields["MemTotal"].split()[0]) // 1024
    return min([physical_mib, *(limit // (1 << 20) for limit in _cgroup_numbers("memory.max"))])


def gpu_models() -> list[str]:
    """One name per GPU that the NVIDIA driver knows; none without its tools."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return []
    return [name.strip() for name in listing.stdout.splitlines() if name.strip()] if listing.returncode == 0 else []


def _cgroup_millicores() -> Iterator[int]:
    for quota, period in (words for words in _cgroup_words("cpu.max") if len(words) == 2):
        if quota.isdecimal() and int(period) > 0:
            yield max(MIN_MILLICORES, 1_000 * int(quota) // int(period))


def _cgroup_numbers(name: str) -> Iterator[int]:
    yield from (int(words[0]) for words in _cgroup_words(name) if words and words[0].isdecimal())


def _cgroup_words(name: str) -> Iterator[list[str]]:
    """What a control file says in this process's control group and in all those around it (cgroup v2)."""
    root = Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, group = line.split(":", 2)
        if number != "0":
            continue
        own = root / group.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root) and (folder / name).is_file():
                yield (folder / name).read_text().split()
