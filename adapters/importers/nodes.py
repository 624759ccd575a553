"""Nodes of a farm and their outages from files.

Nodes are a list in TOML (`[[nodes]]`) or JSON, or the lines of a CSV file with the same columns:

    [[nodes]]
    id = "gpu-{n}"                  # gpu-1, gpu-2, …
    count = 40
    cores = 32
    memory_mib = 262144
    gpus = 2
    class = "gpu"
    attributes = { "worker.gpu.model" = ["T4"] }
    watts_idle = 350                # what it draws while it is on and does nothing,
    watts_peak = 1600               # and in full use
    wake_s = 200                    # from its power-up until it takes work
    price_per_h = 1.5               # beside energy, for each hour in which it is on

A CSV file may also have the columns of the Alibaba GPU cluster traces: `sn,cpu_milli,memory_mib,gpu,model`. Outages are
CSV: `node,down_start_s,down_end_s,cause`.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from adapters.importers.figures import HourPrice, WakeSeconds, Watts, figure_attributes, figures_problem
from adapters.importers.tables import Row, read_rows, read_table, whole
from application.simulation.farms import Outage, SimulatedNode
from domain.errors import BadInput
from domain.indices.performance import CLASS_ATTRIBUTE
from domain.messages import SAFE_ID
from domain.resources import Resources, named_amounts

CSV = ".csv"
ALIBABA = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
OUTAGES = ("node", "down_start_s", "down_end_s", "cause")
GPU_MODEL = "worker.gpu.model"
NUMBER = "{n}"
ATTRIBUTE_PREFIX = "attributes."
MAX_NODES = 1_000_000

Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class NodeLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of one node, or of several that are alike."""

    id: str
    cores: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_NODES)] | None = None
    """None is one node, whose id has no number unless it says so."""
    memory_mib: Amount = 0
    gpus: Amount = 0
    storage_mib: Amount = 0
    network_mbps: Amount = 0
    named: dict[str, Amount] = {}
    attributes: dict[str, str | tuple[str, ...]] = {}
    class_: str = msgspec.field(default="", name="class")
    """Nodes of one class run the same work equally fast, for all that anybody knows."""
    watts_idle: Watts | None = None
    watts_peak: Watts | None = None
    wake_s: WakeSeconds | None = None
    price_per_h: HourPrice | None = None

    def nodes(self) -> list[SimulatedNode]:
        """The nodes that this line stands for; BadInput for ids that are none."""
        if NUMBER not in self.id and self.count is not None and self.count > 1:
            raise BadInput(
                problem=f"id: {self.id!r} is one id for {self.count} nodes; write it as '{self.id}-{NUMBER}'"
            )
        ids = [self.id.replace(NUMBER, str(number)) for number in range(1, (self.count or 1) + 1)]
        wrong = next((each for each in ids if SAFE_ID.fullmatch(each) is None), None)
        if wrong is not None:
            raise BadInput(problem=f"id: {wrong[:40]!r} is none; an id is plain letters, digits, `_.@+-`")
        problem = figures_problem(self)
        if problem:
            raise BadInput(problem=problem)
        capacity, attributes = self._capacity(), self._attributes()
        return [SimulatedNode(each, capacity, attributes) for each in ids]

    def _capacity(self) -> Resources:
        return Resources(
            millicores=round(self.cores * 1_000),
            memory_mib=self.memory_mib,
            gpus=self.gpus,
            storage_mib=self.storage_mib,
            network_mbps=self.network_mbps,
            named=named_amounts(self.named),
        )

    def _attributes(self) -> dict[str, tuple[str, ...]]:
        said = {name: (value,) if isinstance(value, str) else value for name, value in self.attributes.items()}
        own = {CLASS_ATTRIBUTE: (self.class_,)} if self.class_ else {}
        return {**own, **figure_attributes(self), **said}


KEYS = tuple(field.encode_name for field in msgspec.structs.fields(NodeLine))


def load_nodes(path: Path) -> tuple[SimulatedNode, ...]:
    """The nodes that a file describes, in its order; BadInput names the file, the place, and what is known."""
    lines = _csv_lines(path) if path.suffix.lower() == CSV else _listed_lines(path)
    nodes: dict[str, SimulatedNode] = {}
    for place, line in lines:
        try:
            made = line.nodes()
        except BadInput as error:
            raise BadInput(problem=f"{place}: {error.fields['problem']}") from error
        twice = next((node.node_id for node in made if node.node_id in nodes), None)
        if twice is not None:
            raise BadInput(problem=f"{place}: there are two nodes {twice!r}")
        nodes |= {node.node_id: node for node in made}
        if len(nodes) > MAX_NODES:
            raise BadInput(problem=f"{place}: more than {MAX_NODES:,} nodes")
    if not nodes:
        raise BadInput(problem=f"{path}: there is no node in it")
    return tuple(nodes.values())


def load_outages(path: Path, nodes: Sequence[SimulatedNode]) -> tuple[Outage, ...]:
    """Outages of these nodes; a node is named by its id, or by its number in the order of the nodes, from 0.

    BadInput names file, line and reason. Seconds are those of the trace's clock.
    """
    by_id = {node.node_id: node.node_id for node in nodes}
    return tuple(_outage(path, row, by_id, nodes) for row in read_rows(path, OUTAGES, also=lambda _: True))


def _outage(path: Path, row: Row, by_id: dict[str, str], nodes: Sequence[SimulatedNode]) -> Outage:
    name = row.cells["node"]
    node_id = by_id.get(name)
    if node_id is None:
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else len(nodes)
        if number >= len(nodes):
            known = f"{nodes[0].node_id} to {nodes[-1].node_id}, or 0 to {len(nodes) - 1}"
            raise BadInput(problem=f"{path}, line {row.line}: there is no node {name[:40]!r}; known are {known}")
        node_id = nodes[number].node_id
    down_s = whole(path, row, "down_start_s")
    return Outage(node_id, down_s, whole(path, row, "down_end_s", least=down_s), row.cells["cause"])


# -- lines -------------------------------------------------------------------------------------------------------------


def _listed_lines(path: Path) -> Iterable[tuple[str, NodeLine]]:
    """(place, line) of a TOML or JSON file."""
    found = read_table(path)
    if isinstance(found, dict):
        others = [key for key in found if key != "nodes"]
        if others:
            raise BadInput(problem=f"{path}: there is no key {others[0]!r}; known is nodes")
        found = found.get("nodes", [])
    if not isinstance(found, list):
        raise BadInput(problem=f"{path}: nodes: not a list of nodes")
    for number, each in enumerate(found, 1):
        place = f"{path}, node {number}"
        yield place, _line(place, each, strict=True)


def _csv_lines(path: Path) -> Iterable[tuple[str, NodeLine]]:
    """(place, line) of a CSV file, in our columns or in those of the Alibaba traces."""
    rows = read_rows(path, (), also=lambda _: True)
    for row in rows:
        place = f"{path}, line {row.line}"
        cells = {name: cell for name, cell in row.cells.items() if cell}
        if row.cells.keys() >= {"sn", "cpu_milli"}:
            yield place, _alibaba(path, row)
        else:
            attributes = {
                name.removeprefix(ATTRIBUTE_PREFIX): tuple(cell.split("|"))
                for name, cell in cells.items()
                if name.startswith(ATTRIBUTE_PREFIX)
            }
            said: dict[str, Any] = {n: cell for n, cell in cells.items() if not n.startswith(ATTRIBUTE_PREFIX)}
            yield place, _line(place, said | ({"attributes": attributes} if attributes else {}), strict=False)


def _alibaba(path: Path, row: Row) -> NodeLine:
    missing = [name for name in ALIBABA if name not in row.cells]
    if missing:
        raise BadInput(
            problem=f"{path}: the first line names no column {missing[0]!r}; needed are {', '.join(ALIBABA)}"
        )
    model = row.cells["model"]
    return NodeLine(
        id=row.cells["sn"],
        cores=whole(path, row, "cpu_milli", least=1) / 1_000,
        memory_mib=whole(path, row, "memory_mib"),
        gpus=whole(path, row, "gpu"),
        attributes={GPU_MODEL: (model,)} if model else {},
        class_=model or "cpu",
    )


def _line(place: str, said: Any, *, strict: bool) -> NodeLine:
    """One line from its values; BadInput names the key. Not strict, numbers may be text."""
    if not isinstance(said, dict):
        raise BadInput(problem=f"{place}: not a table of keys and values")
    unknown = next((key for key in said if key not in KEYS), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, KEYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"
        raise BadInput(problem=f"{place}: there is no key {unknown!r}; {hint}")
    try:
        return msgspec.convert(said, NodeLine, strict=strict)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$").removeprefix(".")
        said_so = f"{problem[:1].lower()}{problem[1:]}"
        raise BadInput(problem=f"{place}: {key + ': ' if key else ''}{said_so}") from error
