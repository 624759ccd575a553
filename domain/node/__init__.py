"""Node: a machine, or a part of one, that can hold attempts.

Status words follow the published enumeration; draining and suspected are flags beside ONLINE, as in Slurm and
OpenCue (a draining node finishes what it runs; a suspected one has missed heartbeats but is not given up).
"""

from domain.node.commands import (
    BringOnline,
    DrainNode,
    EndMaintenance,
    LoseNode,
    NodeCommand,
    QuarantineNode,
    RecoverNode,
    RegisterNode,
    RetireNode,
    StartMaintenance,
    StartNode,
    StopNode,
    SuspectNode,
    TakeOffline,
    UndrainNode,
)
from domain.node.decide import decide
from domain.node.events import (
    NodeCapabilitiesChanged,
    NodeDrained,
    NodeEvent,
    NodeLost,
    NodeMaintenanceEnded,
    NodeMaintenanceStarted,
    NodeOffline,
    NodeOnline,
    NodeQuarantined,
    NodeRecovered,
    NodeRegistered,
    NodeRetired,
    NodeStarting,
    NodeStopping,
    NodeSuspected,
    NodeUndrained,
)
from domain.node.evolve import evolve
from domain.node.values import Attributes, Node, NodeStatus

__all__ = [
    "Attributes",
    "BringOnline",
    "DrainNode",
    "EndMaintenance",
    "LoseNode",
    "Node",
    "NodeCapabilitiesChanged",
    "NodeCommand",
    "NodeDrained",
    "NodeEvent",
    "NodeLost",
    "NodeMaintenanceEnded",
    "NodeMaintenanceStarted",
    "NodeOffline",
    "NodeOnline",
    "NodeQuarantined",
    "NodeRecovered",
    "NodeRegistered",
    "NodeRetired",
    "NodeStarting",
    "NodeStatus",
    "NodeStopping",
    "NodeSuspected",
    "NodeUndrained",
    "QuarantineNode",
    "RecoverNode",
    "RegisterNode",
    "RetireNode",
    "StartMaintenance",
    "StartNode",
    "StopNode",
    "SuspectNode",
    "TakeOffline",
    "UndrainNode",
    "decide",
    "evolve",
]
