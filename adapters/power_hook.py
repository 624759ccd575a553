"""A command of the operator's that switches the power of machines: Wake-on-LAN, IPMI, a cloud's own tool."""

import shlex
import subprocess

from application.power import Hook, Switch, no_hook
from domain.errors import BadInput
from domain.messages import NodeId

TIMEOUT_S = 120.0
TOLD_CHARS = 200


def command_hook(command: str, timeout_s: float = TIMEOUT_S) -> Hook:
    """A hook that runs `command on NODE` or `command off NODE`; an exit code other than 0 means that it failed.

    Without a command nothing is run. BadInput for one that cannot be split into words.
    """
    if not command.strip():
        return no_hook
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadInput(problem=f"power_hook: {command[:80]!r} is no command: {error}") from error

    def switch(wanted: Switch, node_id: NodeId) -> str:
        return _run([*words, wanted.value, node_id], timeout_s)

    return switch


def _run(argv: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{argv[0]} took longer than {timeout_s:g} s"
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror or error}"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode(errors="replace").strip().splitlines()
    return f"{argv[0]} ended with {done.returncode}" + (f": {said[-1][:TOLD_CHARS]}" if said else "")
