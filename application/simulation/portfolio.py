"""Reviews of the order `portfolio`: the last hours are run again under each candidate, and the best is adopted.

The event log pays for it: arrivals and run times are those on record, the candidates are compared by the same plan
that will follow them, and what speaks for a choice stands in the event that makes it. A review changes nothing while
no job was submitted in its window. The same log leads to the same choices.
"""

import math
import threading
from collections.abc import Sequence

from msgspec.structs import replace

from application import farms
from application.app import Application, Request
from application.commands import AdoptPolicies
from application.ports import Unless
from application.simulation.course import Course, Fate
from application.simulation.engine import Pass
from application.simulation.recording import Recording, read_all, record
from application.simulation.rerun import Rerun
from domain import errors
from domain.cycle import POLICY_STREAM, Evidence, PoliciesAdopted
from domain.job import events as e
from domain.messages import JobId, Meta, Recorded, topic_of
from domain.policies import Policies
from domain.policies.portfolio import NAME, Objective, Portfolio

ACTOR = "portfolio"
HOUR_MS = 3_600_000
FIRST = 16
"""The first review comes after this part of the interval between reviews."""
AT_ONCE_MS = 1_000
"""A shorter wait is none: so long a farm may take to look at its queue."""
PATIENCE_S = 60.0
"""How long the loop sleeps at most before it looks whether other policies were adopted."""


class PortfolioReviewer:
    """Reviews the order of one farm whenever it is time, as long as that order is a portfolio."""

    def __init__(self, app: Application, *, passes: Pass = Pass.INSTANT) -> None:
        self.app, self._passes = app, passes
        self._next_ms: int | None = None
        self._stop = threading.Event()

    def due(self, now_ms: int) -> bool:
        """Whether the next review's time has come, counted from when policies were adopted last.

        The first reviews come sooner, as there is little to look at: after a sixteenth of the interval, then each time
        after as long again, until the interval is reached.
        """
        policies = self.app.farm.policies
        if policies.order != NAME:
            self._next_ms = None
            return False
        if self._next_ms is None:
            since_ms, adopted_ms = self._since()
            self._next_ms = _next(_portfolio(policies), since_ms, adopted_ms)
        return now_ms >= self._next_ms

    def review(self, app: Application) -> tuple[Evidence, ...]:
        """Measures every candidate on the last window and adopts the best, if it is another; the best comes first.

        Nothing is measured, and nothing returned, when no job was submitted in the window, when none of its jobs
        counts, or when nobody waited: no order is better then.
        """
        with app.lock:
            policies, now_ms = app.farm.policies, max(app.clock.now_ms(), app.farm.now_ms)
            farms.save(app.log, app.farm.snapshot())  # where the windows of later reviews begin
        portfolio = _portfolio(policies)
        self._next_ms = _next(portfolio, self._since()[0], now_ms)
        recording = _window(app, portfolio, now_ms)
        if recording is None or _nobody_waited(recording):
            return ()
        evidence = measure(app, recording, policies, self._passes, self._stop)
        if evidence and evidence[0].candidate != portfolio.chosen:
            self._adopt(app, policies, evidence)
        return evidence

    def _adopt(self, app: Application, policies: Policies, evidence: tuple[Evidence, ...]) -> None:
        """Adopts the best, unless somebody adopted something else while it was being found."""
        own = policies.parameters.get("order", {}) | {"current": evidence[0].candidate}
        adopted = replace(policies, parameters=policies.parameters | {"order": own})
        command = AdoptPolicies(policies=adopted, evidence=evidence)
        with app.lock:
            if app.farm.policies == policies:
                unless = Unless(app.farm.position, (topic_of(PoliciesAdopted),))
                (outcome,) = app.commit_all([Request((command,), Meta(ACTOR), unless=unless)])
                if isinstance(outcome, errors.TaskSchedulerError) and not isinstance(outcome, errors.Conflict):
                    raise outcome

    def _since(self) -> tuple[int, int]:
        """Since when the order has been a portfolio, and when policies were adopted last."""
        since_ms: int | None = None
        adopted_ms = self.app.farm.now_ms
        for each in self.app.log.stream(POLICY_STREAM):
            if isinstance(each.event, PoliciesAdopted):
                adopted_ms = each.event.at_ms
                is_one = each.event.policies.order == NAME
                since_ms = (adopted_ms if since_ms is None else since_ms) if is_one else None
        return adopted_ms if since_ms is None else since_ms, adopted_ms

    def run(self, stop: threading.Event) -> None:
        """Reviews in real time, in a thread of its own, until told to stop; a review that is under way is left then."""
        self._stop = stop
        while not stop.is_set():
            if self.due(self.app.clock.now_ms()):
                self.review(self.app)
            left_s = PATIENCE_S
            if self._next_ms is not None:
                left_s = (self._next_ms - self.app.clock.now_ms()) / 1_000
            stop.wait(min(PATIENCE_S, max(0.0, left_s)))


def _portfolio(policies: Policies) -> Portfolio:
    portfolio: Portfolio = policies.policy("order")
    return portfolio


def _next(portfolio: Portfolio, since_ms: int, last_ms: int) -> int:
    """When to look again after a look, or an adoption, at `last_ms`."""
    every_ms = max(1, round(portfolio.every_h * HOUR_MS))
    return last_ms + min(every_ms, max(every_ms // FIRST, 1, last_ms - since_ms))


def _window(app: Application, portfolio: Portfolio, now_ms: int) -> Recording | None:
    """What is on record of the last hours; None if nothing arrived."""
    from_ms = now_ms - round(portfolio.window_h * HOUR_MS)
    submitted = read_all(app.log, app.log.position_at(from_ms - 1), (e.JobSubmitted,))
    if not submitted:
        return None
    if len(submitted) > portfolio.max_jobs:
        from_ms = submitted[-portfolio.max_jobs].event.at_ms
    return record(app.log, from_ms, now_ms)


def _nobody_waited(recording: Recording) -> bool:
    """Whether every job that counts started as soon as it came."""
    course = Course(recording.start, {}, recording.from_ms)
    course.see(recording.events)
    return all(course.fates[job_id].wait_ms(recording.to_ms) < AT_ONCE_MS for job_id in _counted(recording))


def measure(
    app: Application,
    recording: Recording,
    policies: Policies,
    passes: Pass = Pass.INSTANT,
    stop: threading.Event | None = None,
) -> tuple[Evidence, ...]:
    """What each candidate of a portfolio comes to on a recording, the best first; of equals the one in force.

    Every candidate is measured over the same jobs: those that waited at the beginning or came later, and that complete
    under all of them. Nothing new arrives at the end, and all go on until these jobs have ended. Told to stop, nothing
    is known.
    """
    portfolio, stop = _portfolio(policies), stop or threading.Event()
    courses = {
        name: _course(app, recording, _under(policies, portfolio, name), passes, stop) for name in portfolio.candidates
    }
    jobs = [job_id for job_id in _counted(recording) if all(_complete(each, job_id) for each in courses.values())]
    if portfolio.objective is Objective.LATE:
        jobs = [job_id for job_id in jobs if all(_has_deadline(each, job_id) for each in courses.values())]
    if not jobs or stop.is_set():
        return ()
    found = [
        Evidence(
            candidate=name,
            objective=portfolio.objective.value,
            value=_score([course.fates[job_id] for job_id in jobs], portfolio.objective),
            jobs=len(jobs),
        )
        for name, course in courses.items()
    ]
    return tuple(sorted(found, key=lambda each: (each.value, each.candidate != portfolio.chosen)))


def _under(policies: Policies, portfolio: Portfolio, name: str) -> Policies:
    """The same policies with one candidate as the order."""
    return replace(policies, order=name, parameters=policies.parameters | {"order": portfolio.parameters_of(name)})


def _course(app: Application, recording: Recording, policies: Policies, passes: Pass, stop: threading.Event) -> Course:
    """The recording under one candidate, until all jobs that count have ended or nothing is left to happen."""
    course = Course(recording.start, {}, recording.from_ms)
    left = set(_counted(recording))

    def see(recorded: Sequence[Recorded]) -> None:
        course.see(recorded)
        left.difference_update(
            event.job_id for _, _, _, event, _ in recorded if isinstance(event, e.JobCompleted | e.JobFailed)
        )

    Rerun(app.log, recording, policies=policies, passes=passes, seen=see).run(
        lambda at_ms: bool(left) and not stop.is_set()
    )
    return course


def _counted(recording: Recording) -> list[JobId]:
    """Jobs that had not started at the beginning, and those that came later."""
    waiting = [each.state.spec.job_id for each in recording.start.jobs if each.state.next_attempt == 1]
    came = [each.event.spec.job_id for each in recording.events if isinstance(each.event, e.JobSubmitted)]
    return waiting + came


def _complete(course: Course, job_id: JobId) -> bool:
    fate = course.fates.get(job_id)
    return fate is not None and fate.slowdown is not None


def _has_deadline(course: Course, job_id: JobId) -> bool:
    return course.fates[job_id].deadline_ms is not None


def _score(fates: Sequence[Fate], objective: Objective) -> float:
    """The measure of a candidate, less being better."""
    if objective is Objective.LATE:
        values = [0.0 if fate.on_time else 1.0 for fate in fates]
    elif objective is Objective.WAIT:
        values = [fate.wait_ms(0) / 1_000 for fate in fates]
    else:
        values = [fate.slowdown or 0.0 for fate in fates]
    return math.fsum(values) / len(values)
