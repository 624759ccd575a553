"""A supervisor's end of the socket: strangers until they greet, then one server, the youngest.

Whatever arrives can be garbage, half a message or a broken connection; none of it may disturb the attempts or the
server that is being served.
"""

import logging
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from adapters.executors.wire import (
    AnyReply,
    AnyRequest,
    Hello,
    LineBuffer,
    Superseded,
    decode_request,
    encode,
)

MAX_STRANGERS = 16
MAX_UNSENT_BYTES = 64 << 20
_RECEIVE_BYTES = 1 << 18

logger = logging.getLogger(__name__)


class Door:
    """Listens on the socket and passes on what the server says."""

    def __init__(
        self,
        path: Path,
        selector: selectors.BaseSelector,
        hear: Callable[[AnyRequest], None],
        lost: Callable[[], None],
    ) -> None:
        """`path` has to be short: the address of a socket has room for 107 bytes.

        `lost` is called when a server has gone.
        """
        self._selector, self._hear, self._lost = selector, hear, lost
        self._strangers: list[_Peer] = []
        self._server: _Peer | None = None
        self._youngest_ns = -1
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self._socket.listen(MAX_STRANGERS)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    @property
    def is_served(self) -> bool:
        """Whether a server is connected."""
        return self._server is not None

    def tell(self, reply: AnyReply) -> None:
        """Say something to the server, if there is one, at the next `flush`."""
        if self._server is not None:
            self._server.unsent += encode(reply)

    def flush(self) -> None:
        """Send what can be sent without waiting."""
        server = self._server
        if server is None or not server.unsent:
            return
        try:
            server.send()
        except OSError as error:
            self._drop(server, f"cannot be written to: {error}")
            return
        if len(server.unsent) > MAX_UNSENT_BYTES:
            self._drop(server, "does not read")
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if server.unsent else 0)
        if events != server.events:
            server.events = events
            self._selector.modify(server.socket, events, server.ready)

    def close(self) -> None:
        """Send the last words, then hang up."""
        if self._server is not None:
            self._server.socket.setblocking(True)
            self._server.socket.settimeout(1.0)
            self.flush()
        self._socket.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:  # the caller has gone again, or there are no descriptors left
            logger.warning("a connection could not be accepted: %s", error)
            return
        connection.setblocking(False)
        peer = _Peer(connection, lambda: self._receive(peer))
        self._strangers.append(peer)
        self._selector.register(connection, peer.events, peer.ready)
        if len(self._strangers) > MAX_STRANGERS:
            self._drop(self._strangers[0], "never greeted")

    def _receive(self, peer: "_Peer") -> None:
        try:
            data = peer.socket.recv(_RECEIVE_BYTES)
            lines = peer.lines.feed(data)
        except BlockingIOError:
            return  # it was ready for writing only; `flush` follows
        except (OSError, ValueError) as error:
            self._drop(peer, str(error))
            return
        for line in lines:
            if peer.gone or not self._understand(peer, line):
                return
        if not data:
            self._drop(peer, "hung up")

    def _understand(self, peer: "_Peer", line: bytes) -> bool:
        try:
            request = decode_request(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._drop(peer, f"says something that is no request: {error}")
            return False
        if isinstance(request, Hello):
            if not self._serve(peer, request.since_ns):
                return False
        elif peer is not self._server:
            self._drop(peer, "asks without having greeted")
            return False
        self._hear(request)
        return True

    def _serve(self, peer: "_Peer", since_ns: int) -> bool:
        """From now on this is the server, unless a younger one has greeted before."""
        if since_ns < self._youngest_ns:
            self._dismiss(peer)
            return False
        self._youngest_ns = since_ns
        if self._server is not None and self._server is not peer:
            self._dismiss(self._server)
        if peer in self._strangers:
            self._strangers.remove(peer)
        self._server = peer
        return True

    def _dismiss(self, peer: "_Peer") -> None:
        peer.unsent += encode(Superseded())
        with suppress(OSError):  # it may be gone already, which is what is wanted
            peer.send()
        self._drop(peer, "was superseded")

    def _drop(self, peer: "_Peer", why: str) -> None:
        if peer.gone:
            return
        peer.gone = True
        self._selector.unregister(peer.socket)
        peer.socket.close()
        if peer is self._server:
            logger.info("the server %s", why)
            self._server = None
            self._lost()
        else:
            logger.info("a stranger %s", why)
            self._strangers.remove(peer)


class _Peer:
    """One connection."""

    def __init__(self, connection: socket.socket, ready: Callable[[], None]) -> None:
        self.socket = connection
        self.ready = ready
        self.events = selectors.EVENT_READ
        self.lines = LineBuffer()
        self.unsent = bytearray()
        self.gone = False

    def send(self) -> None:
        """Send as much as the socket takes."""
        try:
            while self.unsent:
                sent = self.socket.send(memoryview(self.unsent)[:_RECEIVE_BYTES])
                del self.unsent[:sent]
        except BlockingIOError:
            return
