"""The farm without a server: the store itself, asked and changed by the very functions that a server uses."""

from pathlib import Path
from typing import Any

from adapters.bootstrap import Direct, open_direct, open_readonly
from adapters.web.failures import OF_THE_STORE, as_domain_error
from adapters.web.posts import carry_out, read_posted
from application.app import Reply


class DirectChannel:
    """To the store; with `write` under the writer lock from the beginning, else from the first command on."""

    def __init__(self, data_dir: Path, write: bool) -> None:
        self._data_dir = data_dir
        self._open = open_direct(data_dir) if write else open_readonly(data_dir)

    def get(self, path: str, parameters: dict[str, Any]) -> Any:
        """The answer to a question, in builtins."""
        try:
            return self._open.queries.get(path, **parameters)
        except OF_THE_STORE as error:
            raise as_domain_error(error) from error

    def post(self, body: bytes) -> Reply:
        """The reply to commands."""
        posted = read_posted(body)
        try:
            replied = carry_out(self._writable().app, posted)
        except OF_THE_STORE as error:
            raise as_domain_error(error) from error
        return Reply(replied.position, replied.events)

    def _writable(self) -> Direct:
        if not isinstance(self._open, Direct):
            direct = open_direct(self._data_dir)
            self._open.close()
            self._open = direct
        return self._open

    def close(self) -> None:
        """Gives the store back."""
        self._open.close()
