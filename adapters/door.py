"""The door that programs of this machine use: the running server if there is one, else the store itself.

Both sides answer in the same words. A command carries its own id, so a reply that was lost is asked for again, and a
server that died half-way is replaced by the store: what it had made durable is not done twice.
"""

import getpass
import http.client
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from adapters.clock import SystemIds
from adapters.web.refusals import MAX_BODY_BYTES, BodyTooLarge, Refusal, ServerGone, error_of
from adapters.web.serverfile import ServerFile, read_server_file
from application.app import Reply
from domain.messages import Command

TRIES = 3
"""How often a request is sent before the server counts as gone."""
CONNECT_S = 5.0
ANSWER_S = 60.0
"""Beyond what a question itself may take (`timeout_s`)."""
DROPPED = (OSError, http.client.HTTPException)
"""The connection is gone; whether the server had done its part is not known."""
IN_A_PATH = "/%:@!$&'()*+,;=-._~"
"""What may stand in the path of a URL as it is."""


class Channel(Protocol):
    """One way to the farm."""

    def get(self, path: str, parameters: dict[str, Any]) -> Any:
        """The answer to a question, in builtins."""
        ...

    def post(self, body: bytes) -> Reply:
        """The reply to commands."""
        ...

    def close(self) -> None:
        """Lets go."""
        ...


class Door:
    """Questions and commands for one data directory, wherever they are answered."""

    def __init__(self, data_dir: Path, channel: Channel, actor: str) -> None:
        self.data_dir, self.actor = data_dir, actor
        self._channel = channel
        self._position = 0
        """Of the last command: what is asked after it must show its effect."""

    @property
    def is_server(self) -> bool:
        """Whether a server answers, which also executes what is submitted."""
        return isinstance(self._channel, HttpChannel)

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer to a question, in builtins; a TaskSchedulerError says why there is none."""
        given = {name: value for name, value in parameters.items() if value is not None}
        if self._position:
            given.setdefault("position", self._position)
        try:
            return self._channel.get(path, given)
        except ServerGone:
            self._go_direct(write=False)
            return self._channel.get(path, given)

    def handle(self, commands: Sequence[Command], command_id: str | None = None) -> Reply:
        """Carries commands out durably, all or none, or raises the error that says why not."""
        command_id = command_id or SystemIds().new("cmd")
        posted = {"commands": list(commands), "actor": self.actor, "command_id": command_id}
        body = msgspec.json.encode(posted)
        try:
            reply = self._channel.post(body)
        except ServerGone:
            self._go_direct(write=True)
            reply = self._channel.post(body)
        self._position = max(self._position, reply.position)
        return reply

    def _go_direct(self, write: bool) -> None:
        """The server is gone: to the store itself, unless something else holds it (StoreLocked)."""
        direct = open_channel(self.data_dir, write)
        self._channel.close()
        self._channel = direct

    def close(self) -> None:
        """Lets go of server or store."""
        self._channel.close()

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(data_dir: Path, write: bool = False, actor: str = "") -> Door:
    """The door of a data directory; with `write` and no server, StoreLocked if somebody else has the store."""
    actor = actor or f"user:{_user_name()}"
    server = read_server_file(data_dir)
    if server is not None and _answers(server.url):
        return Door(data_dir, HttpChannel(server), actor)
    return Door(data_dir, open_channel(data_dir, write), actor)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without a name, in a container for example
        return "unknown"


def _answers(url: str) -> bool:
    """Whether somebody takes connections there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), CONNECT_S).close()
    except OSError:
        return False
    return True


# -- through the server ------------------------------------------------------------------------------------------


class HttpChannel:
    """To a server over HTTP, on one connection that is made anew when it breaks."""

    def __init__(self, server: ServerFile) -> None:
        self._server = server
        address = urlsplit(server.url)
        self._address = (address.hostname or "", address.port)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, parameters: dict[str, Any]) -> Any:
        """Asks until there is an answer; ServerGone if none comes."""
        query = urlencode({name: _text(value) for name, value in parameters.items()})
        patience_s = ANSWER_S + float(parameters.get("timeout_s", 0))
        target = quote(path, safe=IN_A_PATH) + (f"?{query}" if query else "")
        return msgspec.json.decode(self._exchange("GET", target, None, patience_s))

    def post(self, body: bytes) -> Reply:
        """Sends commands until they are answered, always under the same id; ServerGone if no reply comes."""
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(limit_mib=MAX_BODY_BYTES >> 20)
        return msgspec.json.decode(self._exchange("POST", "/api/commands", body, ANSWER_S), type=Reply)

    def _exchange(self, method: str, target: str, body: bytes | None, patience_s: float) -> bytes:
        problem: Exception | None = None
        for _ in range(TRIES):
            try:
                return self._once(method, target, body, patience_s)
            except DROPPED as error:
                problem = error
                self.close()
                if isinstance(error, TimeoutError):
                    break  # it had its time; more of it would not help
        raise ServerGone(url=self._server.url, problem=str(problem) or type(problem).__name__)

    def _once(self, method: str, target: str, body: bytes | None, patience_s: float) -> bytes:
        connection = self._connected(patience_s)
        headers = {"Authorization": f"Bearer {self._server.token}", "Content-Type": "application/json"}
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise error_of(_refusal(response.status, content))
        return content

    def _connected(self, patience_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._address
            self._connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
            self._connection.connect()
        assert self._connection.sock is not None
        self._connection.sock.settimeout(patience_s)
        return self._connection

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(status: int, content: bytes) -> Refusal:
    try:
        return msgspec.json.decode(content, type=Refusal)
    except msgspec.DecodeError:
        return Refusal("http.unexpected", f"the server answered {status} and {content[:200]!r}")


# -- to the store itself -----------------------------------------------------------------------------------------


def open_channel(data_dir: Path, write: bool) -> Channel:
    """The store itself; StoreNotFound when there is none to read, StoreLocked when somebody else writes."""
    from adapters.direct import DirectChannel  # noqa: PLC0415 (not needed, and slow to import, where a server answers)

    return DirectChannel(data_dir, write)
