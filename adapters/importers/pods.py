"""GPU pods of the Alibaba cluster traces (v2023, `openb_pod_list`) as jobs on nodes.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC
2023). A pod arrives at its creation and runs as long as it did from its scheduling to its deletion; nobody requested a
time, so the run time is the request. A share of a GPU takes a whole one here, because GPUs are counted, not shared;
each such pod is counted as `gpu-share-raised`.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from adapters.importers.nodes import GPU_MODEL
from adapters.importers.tables import Row, header_of, read_rows, whole
from application.simulation.farms import Needs
from application.simulation.workload import Adjusted, Dropped, Trace, TraceJob
from domain.errors import BadInput
from domain.resources import AttributeNeed, Requirement, Resources

COLUMNS = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos", "creation_time", "deletion_time",
    "scheduled_time",
)  # fmt: skip
WHOLE_GPU = 1_000
NEVER_SCHEDULED = "never-scheduled"
"""Why a pod is no job, beside `workload.Dropped`: it never ran."""
GPU_SHARE_RAISED = "gpu-share-raised"


class PodTrace(NamedTuple):
    """Pods as a trace, and what they need by job number."""

    trace: Trace
    needs: dict[int, Needs]


def is_pod_list(path: Path) -> bool:
    """Whether the first line of a file names the columns of a list of pods."""
    return {"cpu_milli", "num_gpu"} <= set(header_of(path))


def load_pods(path: Path) -> PodTrace:
    """The pods of a file, numbered by line from 1; BadInput names file, line and reason.

    `processors` of a job are its cores, rounded up; that of the trace is 0, because nodes are in another file.
    """
    jobs: list[TraceJob] = []
    needs: dict[int, Needs] = {}
    dropped: Counter[str] = Counter()
    adjusted: Counter[str] = Counter()
    for number, row in enumerate(read_rows(path, COLUMNS, also=lambda _: True), 1):
        if not row.cells["scheduled_time"]:
            dropped[NEVER_SCHEDULED] += 1
            continue
        submit_s = whole(path, row, "creation_time")
        run_s = whole(path, row, "deletion_time") - whole(path, row, "scheduled_time")
        if run_s <= 0:
            dropped[Dropped.NO_RUN_TIME.value] += 1
            continue
        needed = _needs(path, row)
        needs[number] = needed
        cores = -(-needed.requirement.resources.millicores // 1_000)
        jobs.append(TraceJob(number, submit_s, run_s, max(1, cores), run_s))
        adjusted[Adjusted.REQUEST_FROM_RUN.value] += 1
        if needed.requirement.resources.gpus and whole(path, row, "gpu_milli") not in (0, WHOLE_GPU):
            adjusted[GPU_SHARE_RAISED] += 1
    if not jobs:
        raise BadInput(problem=f"{path}: there is no pod in it that ever ran")
    jobs.sort(key=lambda job: (job.submit_s, job.number))
    counts = dict(sorted(dropped.items())), dict(sorted(adjusted.items()))
    return PodTrace(Trace(tuple(jobs), 0, *counts, name=path.name), needs)


def _needs(path: Path, row: Row) -> Needs:
    models = tuple(model for model in row.cells["gpu_spec"].split("|") if model)
    resources = Resources(
        millicores=whole(path, row, "cpu_milli"),
        memory_mib=whole(path, row, "memory_mib"),
        gpus=whole(path, row, "num_gpu"),
    )
    attributes = (AttributeNeed(GPU_MODEL, any_of=models),) if models else ()
    return Needs(Requirement(resources, attributes=attributes), name=row.cells["name"], kind=row.cells["qos"])
