"""Client: who owns work (a studio client, a show, a research project), with a guarantee, a limit and a tier."""

from msgspec.structs import replace

from domain import errors
from domain.job.checks import MAX_TIME_MS
from domain.job.values import Protection
from domain.messages import MAX_NAME_CHARS, SAFE_ID, ClientId, Command, Event, Value


class Shares(Value, frozen=True):
    """What a client may count on and may not exceed, in percent of the farm's processors and GPUs."""

    guarantee_percent: int = 0
    limit_percent: int = 100
    tier: str = "standard"
    max_tasks: int | None = None
    """How many tasks may run at once; None means no such limit."""
    borrow: bool = True
    """Whether it may use more than its guarantee, where the sharing policy lets clients borrow."""
    borrow_percent: int = 100
    """How far above its guarantee it may go, in percent of the farm."""
    lend: bool = True
    """Whether others may use what it leaves unused of its guarantee."""


class ClientRegistered(Event, frozen=True, kw_only=True, tag="client.registered"):
    """A client became known."""

    client_id: ClientId
    name: str
    shares: Shares = Shares()


class ClientSharesChanged(Event, frozen=True, kw_only=True, tag="client.shares_changed"):
    """A client has other shares: guarantee, limit, tier, or terms of borrowing and lending."""

    client_id: ClientId
    shares: Shares
    why: str = ""


class ClientSuspended(Event, frozen=True, kw_only=True, tag="client.suspended"):
    """A client can submit nothing and none of its tasks starts."""

    client_id: ClientId
    why: str = ""


class ClientReinstated(Event, frozen=True, kw_only=True, tag="client.reinstated"):
    """A suspended client is welcome again."""

    client_id: ClientId
    why: str = ""


class ClientProtectionChanged(Event, frozen=True, kw_only=True, tag="client.protection_changed"):
    """The client's jobs without a contract of their own may be interrupted under another one."""

    client_id: ClientId
    protection: Protection | None
    before: Protection | None
    why: str = ""


ClientEvent = ClientRegistered | ClientSharesChanged | ClientSuspended | ClientReinstated | ClientProtectionChanged


class RegisterClient(Command, frozen=True, kw_only=True, tag="register-client"):
    """Make a client known."""

    client_id: ClientId
    name: str = ""
    shares: Shares = Shares()


class ChangeShares(Command, frozen=True, kw_only=True, tag="change-shares"):
    """Give a client another guarantee, limit or tier."""

    client_id: ClientId
    shares: Shares
    why: str = ""


class SuspendClient(Command, frozen=True, kw_only=True, tag="suspend-client"):
    """Take nothing more from a client."""

    client_id: ClientId
    why: str = ""


class ReinstateClient(Command, frozen=True, kw_only=True, tag="reinstate-client"):
    """Lift the suspension."""

    client_id: ClientId
    why: str = ""


class ProtectClient(Command, frozen=True, kw_only=True, tag="protect-client"):
    """Give the jobs of a client, those without a contract of their own, another one about interruption."""

    client_id: ClientId
    protection: Protection | None
    why: str = ""


ClientCommand = RegisterClient | ChangeShares | SuspendClient | ReinstateClient | ProtectClient


class Client(Value, frozen=True):
    """The state of one client: the fold of its events."""

    client_id: ClientId
    name: str
    shares: Shares = Shares()
    suspended: bool = False
    protection: Protection | None = None
    """When its jobs may be interrupted that have no contract of their own; None means whenever somebody has the
    right."""


def decide(client: Client | None, command: ClientCommand, now_ms: int) -> tuple[ClientEvent, ...]:
    """Percentages lie in 0..100 and a guarantee never exceeds its limit; a client is registered once."""
    if isinstance(command, RegisterClient):
        check_shares(command.client_id, command.shares)
        _check_name(command)
        return _register(client, command, now_ms)
    if client is None:
        raise errors.ClientNotFound(client_id=command.client_id)
    if isinstance(command, ChangeShares):
        check_shares(command.client_id, command.shares)
        changed = client.shares != command.shares
        event = ClientSharesChanged(at_ms=now_ms, client_id=client.client_id, shares=command.shares, why=command.why)
        return _if(changed, event)
    if isinstance(command, SuspendClient):
        return _if(
            not client.suspended,
            ClientSuspended(at_ms=now_ms, client_id=client.client_id, why=command.why),
        )
    if isinstance(command, ProtectClient):
        return _protect(client, command, now_ms)
    reinstated = ClientReinstated(at_ms=now_ms, client_id=client.client_id, why=command.why)
    return _if(client.suspended, reinstated)


def _register(client: Client | None, command: RegisterClient, now_ms: int) -> tuple[ClientEvent, ...]:
    if client is None:
        name = command.name or command.client_id
        return (ClientRegistered(at_ms=now_ms, client_id=command.client_id, name=name, shares=command.shares),)
    if client.shares == command.shares:
        return ()
    raise errors.ClientInvalid(
        client_id=command.client_id,
        problem="it is registered with other shares; `milepost client set` changes them",
    )


def _protect(client: Client, command: ProtectClient, now_ms: int) -> tuple[ClientEvent, ...]:
    until_ms = None if command.protection is None else command.protection.until_ms
    if until_ms is not None and not 0 <= until_ms <= MAX_TIME_MS:
        problem = f"its protection ends at {until_ms}, which is no time between 1970 and 9999"
        raise errors.ClientInvalid(client_id=client.client_id, problem=problem)
    changed = ClientProtectionChanged(
        at_ms=now_ms,
        client_id=client.client_id,
        protection=command.protection,
        before=client.protection,
        why=command.why,
    )
    return _if(client.protection != command.protection, changed)


def check_shares(client_id: ClientId, shares: Shares) -> None:
    """ClientInvalid unless 0 ≤ guarantee ≤ limit ≤ 100, the task limit is positive and what it borrows is 0..100 %."""
    if SAFE_ID.fullmatch(client_id) is None:
        raise errors.ClientInvalid(client_id=client_id, problem="an id is plain letters, digits, `_.@+-`")
    if not 0 <= shares.guarantee_percent <= shares.limit_percent <= 100:
        problem = (
            f"guarantee {shares.guarantee_percent} % and limit {shares.limit_percent} % must be "
            "0..100, the guarantee not above the limit"
        )
        raise errors.ClientInvalid(client_id=client_id, problem=problem)
    if shares.max_tasks is not None and shares.max_tasks < 1:
        raise errors.ClientInvalid(client_id=client_id, problem="the task limit must be at least 1")
    if not 0 <= shares.borrow_percent <= 100:
        problem = f"it can borrow 0..100 % of the farm beyond its guarantee, not {shares.borrow_percent} %"
        raise errors.ClientInvalid(client_id=client_id, problem=problem)


def _check_name(command: RegisterClient) -> None:
    if len(command.name) > MAX_NAME_CHARS:
        problem = f"its name is longer than {MAX_NAME_CHARS} characters"
        raise errors.ClientInvalid(client_id=command.client_id, problem=problem)


def _if(condition: bool, event: ClientEvent) -> tuple[ClientEvent, ...]:
    return (event,) if condition else ()


def evolve(client: Client | None, event: ClientEvent) -> Client:
    """The state after one more fact."""
    if isinstance(event, ClientRegistered):
        return Client(event.client_id, event.name, event.shares)
    assert client is not None
    if isinstance(event, ClientSharesChanged):
        return replace(client, shares=event.shares)
    if isinstance(event, ClientProtectionChanged):
        return replace(client, protection=event.protection)
    return replace(client, suspended=isinstance(event, ClientSuspended))
