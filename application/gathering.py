"""Many callers on one event loop sharing commits: the asynchronous door to the application.

Coroutines hand in their requests and sleep; one worker thread commits whatever has gathered, and while that commit is
on its way to the disk the next one gathers. A caller costs a future, not a thread, so commits grow with the number of
callers.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from application.app import Application, Outcome, Reply, Request
from domain import errors
from domain.messages import Command, Meta

MAX_GATHERED = 1_000
"""Requests in one commit at most, so that nobody waits long for the others."""


class Gathering:
    """Group commit for coroutines. Use it from one event loop only."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self._worker = ThreadPoolExecutor(1, "commits")
        self._waiting: list[tuple[Request, asyncio.Future[Outcome]]] = []
        self._busy = False

    async def handle(self, command: Command, actor: str, command_id: str = "") -> Reply:
        """Carries a command out, durably, or raises the domain error that says why not."""
        return await self.handle_all((command,), actor, command_id)

    async def handle_all(self, commands: Sequence[Command], actor: str, command_id: str = "") -> Reply:
        """Carries several commands out in one transaction, all or none."""
        meta = Meta(actor, command_id or self.app.ids.new("cmd"))
        outcome = await self.commit(Request(tuple(commands), meta, remember=bool(command_id)))
        if isinstance(outcome, errors.TaskSchedulerError):
            raise outcome
        return outcome

    def commit(self, request: Request) -> "asyncio.Future[Outcome]":
        """What becomes of a request, once it is durable; an error of the store is raised to everybody in its commit."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((request, future))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._start, loop)  # after all coroutines that are ready now have handed in theirs
        return future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:MAX_GATHERED], self._waiting[MAX_GATHERED:]
        if not batch:
            self._busy = False
            return
        done = loop.run_in_executor(self._worker, self.app.commit_all, [request for request, _ in batch])
        done.add_done_callback(lambda outcomes: self._finish(loop, [future for _, future in batch], outcomes))

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        futures: list["asyncio.Future[Outcome]"],
        outcomes: "asyncio.Future[list[Outcome]]",
    ) -> None:
        error = outcomes.exception()
        for at, future in enumerate(futures):
            if future.done():  # its caller has gone; the command is carried out all the same
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(outcomes.result()[at])
        loop.call_soon(self._start, loop)

    def close(self) -> None:
        """Ends the worker after what it is doing."""
        self._worker.shutdown()
