"""What a server and a supervisor say to each other: one JSON message per line over the node's Unix socket.

The socket only saves time: everything said here can be read from the files of the attempts, and every order may be
given twice. A supervisor listens to one server, the youngest that ever greeted.
"""

from typing import TypeAlias

import msgspec

from application.ports import AttemptReport, Launch, NodeHeartbeat, Report

MAX_LINE_BYTES = 64 << 20
DEFAULT_IDLE_MS = 600_000


class Request(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="ask"):
    """Something a server says to a supervisor."""


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """I am the server now; answered by `Welcome` and by all that is known of live attempts."""

    since_ns: int
    """When I began, on the machine's monotonic clock: of two servers the younger one is served."""
    lease_ms: int
    server_lock: str
    """The file that I hold locked while I live."""
    idle_ms: int = DEFAULT_IDLE_MS
    """When nothing runs and no server has lived for so long, end yourself."""


class Renew(Request, frozen=True, tag="renew"):
    """I am still there; answered at once by `NodeHeartbeat`."""


class Order(Request, frozen=True):
    """Something to be done; orders are carried out in turn."""

    number: int
    """Counts up; `Acknowledged` names the last one that cannot be lost any more."""


class Start(Order, frozen=True, tag="start"):
    """Run this attempt unless that was tried before."""

    launch: Launch


class Terminate(Order, frozen=True, tag="terminate"):
    """End this attempt; one never started will never start."""

    launch: Launch
    grace_ms: int


class Suspend(Order, frozen=True, tag="suspend"):
    """Stop the processes of this attempt where they are."""

    attempt_id: str


class Resume(Order, frozen=True, tag="resume"):
    """Let them go on."""

    attempt_id: str


class Stop(Order, frozen=True, tag="stop"):
    """End all attempts, each with its own grace period, and then yourself."""


class Welcome(Report, frozen=True, tag="welcome"):
    """The supervisor listens to the one who greeted, and to nobody else."""


class Acknowledged(Report, frozen=True, tag="acknowledged"):
    """All orders up to this number are carried out, or will be whatever becomes of the server."""

    number: int


class Superseded(Report, frozen=True, tag="superseded"):
    """A younger server has greeted; this connection ends."""


AnyRequest: TypeAlias = Hello | Renew | Start | Terminate | Suspend | Resume | Stop
AnyReply: TypeAlias = AttemptReport | NodeHeartbeat | Welcome | Acknowledged | Superseded

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_replies: msgspec.json.Decoder[AnyReply] = msgspec.json.Decoder(AnyReply)


def encode(message: Request | Report) -> bytes:
    """A message as one line."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> AnyRequest:
    """What a server said; `msgspec.DecodeError` if that is no request."""
    return _requests.decode(line)


def decode_reply(line: bytes) -> AnyReply:
    """What a supervisor said; `msgspec.DecodeError` if that is no reply."""
    return _replies.decode(line)


class LineBuffer:
    """Cuts what arrives in pieces into whole lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that this piece completes, without their ends; `ValueError` when one is far too long."""
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        self._parts.append(head)
        lines = b"".join(self._parts).split(b"\n")
        self._parts, self._size = [], 0
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_LINE_BYTES:
            raise ValueError(f"a message is longer than {MAX_LINE_BYTES} bytes")
