"""The tour: real work on four nodes of this machine, one of which is killed half-way. What `make run` runs.

A render for one client with a deadline, a simulation of three dependent jobs with checkpoints for another, and a
critical job that arrives late. It uses exactly what any other program may use: `adapters.library` and the queries.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from adapters.executors.local import kill_node
from adapters.importers.submission import Extras
from adapters.library import Milepost
from adapters.store.sqlite import LOG_FILE
from application.watchdog import Timing
from domain import errors, intervals
from domain.client import Shares
from domain.job.commands import ApproveJob
from domain.job.values import JobStatus, Priority, Progressive
from domain.messages import JobId, NodeId
from projections.story import sentence

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).with_name("samples") / "render.yaml"
FRAMES = 24
SIZE = (320, 180)
DEADLINE_MS = 60_000
LATE_AFTER_S = 4.0
COARSE_STEP = 4
CRITICAL = "client call"
RESTORED = "checkpoint.restored"
PATIENCE_S = 240.0
REFRESH_S = 0.25


class Jobs(NamedTuple):
    """The jobs of the tour."""

    render: JobId
    relax: JobId
    evolve: JobId
    analyse: JobId


class Demo:
    """One tour over one open farm."""

    def __init__(self, farm: Milepost, data_dir: Path, console: Console, *, quiet: bool) -> None:
        self.farm, self.data_dir, self.console, self.quiet = farm, data_dir, console, quiet
        self.outputs = data_dir / "outputs"
        self.frames = self.outputs / "frames"
        self.frames.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.critical: JobId | None = None
        self.killed: NodeId | None = None
        self.resumed = False
        """Whether it was told that the simulation goes on from its checkpoint."""
        self.went_before = False
        """Whether an interrupted tour goes on."""
        self._drawn = 0.0
        self._live: Live | None = None
        self._said: dict[JobId, str] = {}

    # -- what happens --------------------------------------------------------------------------------------------

    def submit(self) -> None:
        """The render and the simulation for two clients; what an interrupted tour has submitted stays."""
        known = {row.name: row.job_id for row in self.farm.queue(everything=True)}
        self.went_before = bool(known)
        self.farm.add_client("studio", Shares(guarantee_percent=50))
        self.farm.add_client("lab", Shares(guarantee_percent=25, limit_percent=75))
        render = known.get("Render") or self._submit_render()
        self.jobs = Jobs(render, *self._submit_simulation(known))
        self.critical = known.get(CRITICAL)
        for recorded in self.farm.app.log.read(0, 1, topics=("node.lost",)):
            self.killed = recorded.event.node_id  # type: ignore[attr-defined]  # of the topic asked for
        self.resumed = bool(self.farm.app.log.read(0, 1, topics=(RESTORED,)))
        what = (
            "goes on where it was interrupted" if known else f"submitted {FRAMES} frames and a simulation of three jobs"
        )
        self.say(what)
        self.say(f"if this is interrupted, it goes on with: milepost demo --data {self.data_dir}")

    def _submit_render(self) -> JobId:
        deadline_ms = self.farm.app.clock.now_ms() + DEADLINE_MS
        parameters = {
            "OutputDir": str(self.frames),
            "LastFrame": str(FRAMES),
            "Width": str(SIZE[0]),
            "Height": str(SIZE[1]),
            "Python": sys.executable,
        }
        shown = Progressive(every=COARSE_STEP, approve=True)
        extras = Extras(client_id="studio", deadline_ms=deadline_ms, progressive=shown)
        _, (render,) = self.farm.submit_template(TEMPLATE, parameters, extras)
        return render

    def _submit_simulation(self, known: dict[str, JobId]) -> tuple[JobId, JobId, JobId]:
        initial, final, report = (str(self.outputs / name) for name in ("initial.npz", "final.npz", "report.json"))
        relax = known.get("n-body relax") or self._stage("relax", "--out", initial)
        evolve = known.get("n-body evolve") or self._stage("evolve", "--in", initial, "--out", final, after=(relax,))
        analyse = known.get("n-body analyse") or self._stage("analyse", "--in", final, "--out", report, after=(evolve,))
        return relax, evolve, analyse

    def _stage(self, stage: str, *args: str, after: tuple[JobId, ...] = ()) -> JobId:
        return self.farm.submit(
            sys.executable,
            "-m",
            "adapters.samples.nbody",
            "--stage",
            stage,
            *args,
            name=f"n-body {stage}",
            client="lab",
            priority=Priority.HIGH,
            after=after,
            env={"PYTHONPATH": str(ROOT)},
        )

    def watch(self) -> None:
        """Called all the time while the farm works: lets things happen, and draws."""
        if self.critical is None and time.monotonic() - self.started > LATE_AFTER_S:
            self._submit_critical()
        self._approve()
        if self.killed is None:
            self._kill_a_node()
        elif not self.resumed:
            self._tell_of_the_checkpoint()
        if time.monotonic() - self._drawn > REFRESH_S:
            self._drawn = time.monotonic()
            self._draw()

    def _submit_critical(self) -> None:
        program = ("-m", "adapters.samples.render", "--frame", "{task}", "--frames", str(FRAMES))
        size = ("--size", "480x270", "--samples", "2", "--out", str(self.outputs / "critical"))
        self.critical = self.farm.submit(
            sys.executable,
            *program,
            *size,
            name=CRITICAL,
            tasks="6,18",
            client="studio",
            priority=Priority.CRITICAL,
            env={"PYTHONPATH": str(ROOT)},
        )
        self.say("a critical job arrives late: two frames for a client call")

    def _approve(self) -> None:
        """Every 4th frame comes first; once these are there somebody looks at them and lets the others go on."""
        job = self.farm.app.farm.jobs.get(self.jobs.render)
        if job is None or not job.gated or job.waiting or job.live:
            return
        frames = intervals.size(job.succeeded)
        self.say(f"the first {frames} frames of the loop can be seen, and are approved: the others go on")
        self.farm.handle(ApproveJob(job_id=self.jobs.render, why="the loop looks right"))

    def _kill_a_node(self) -> None:
        """The node that runs the simulation, once that has left a checkpoint: as if somebody pulled its plug."""
        job = self.farm.app.farm.jobs.get(self.jobs.evolve)
        if job is None or not job.checkpoints or not job.live:
            return
        self.killed = next(iter(job.live.values())).nodes[0][0]
        kill_node(self.data_dir, self.killed)
        self.say(f"{self.killed} is killed with everything on it; its work goes elsewhere")

    def _tell_of_the_checkpoint(self) -> None:
        for recorded in self.farm.app.log.read(0, 1, topics=(RESTORED,)):
            self.resumed = True
            self.say(sentence(recorded))

    # -- what is shown -------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """One line about what happens."""
        if not self.quiet:
            self.console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/]  {escape(text)}", highlight=False)

    def _draw(self) -> None:
        if self.quiet:
            return
        if self._live is not None:
            self._live.update(self._table())
        else:
            for row in self.farm.queue(everything=True):
                if self._said.get(row.job_id) != row.status:
                    self._said[row.job_id] = row.status
                    self.say(f"{row.name}: {row.status}")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1))
        for column in ("job", "client", "priority", "status", "tasks", ""):
            table.add_column(column, no_wrap=True)
        table.add_column("waits for", no_wrap=True, overflow="ellipsis")
        for row in self.farm.queue(everything=True):
            bar = "█" * (row.progress // 5) + "░" * (20 - row.progress // 5)
            blocker = escape(row.blocker) if row.status in ("pending", "queued") else ""
            tasks = f"{row.succeeded}/{row.tasks}"
            table.add_row(escape(row.name), row.client_id, row.priority, _status(row.status), tasks, bar, blocker)
        return table

    def run(self) -> bool:
        """Works until everything has ended; False if that took too long."""
        self.submit()
        if self.quiet or not self.console.is_terminal:
            return self._run()
        with Live(self._table(), console=self.console, refresh_per_second=4) as self._live:
            done = self._run()
            self._live.update(self._table())
        self._live = None
        return done

    def _run(self) -> bool:
        done = self.farm.run(self.watch, PATIENCE_S)
        if done and self.critical is None:
            self._submit_critical()
            done = self.farm.run(self.watch, PATIENCE_S)
        return done

    # -- what came of it -----------------------------------------------------------------------------------------

    def summary(self, done: bool) -> dict[str, Any]:
        """The outcome as data; `ok` only if everything truly completed."""
        rows = self.farm.queue(everything=True)
        evolve = self.farm.job(self.jobs.evolve)
        resumed = [a for a in evolve["attempts"] if a["restored_from"] and a["outcome"] == "succeeded"]
        sheet = self._contact_sheet()
        first_ms = min(row.submitted_ms for row in rows)
        last_ms = max((row.ended_ms or 0) for row in rows)
        with_deadline = [row for row in rows if row.deadline_ms is not None]
        on_time = [row for row in with_deadline if row.ended_ms and row.deadline_ms and row.ended_ms <= row.deadline_ms]
        completed = all(row.status is JobStatus.COMPLETED for row in rows) and len(rows) == len(self.jobs) + 1
        return {
            "ok": bool(done and completed and sheet and (resumed if self.killed else self.went_before)),
            "jobs": [_job_summary(row) for row in rows],
            "seconds": round((last_ms - first_ms) / 1_000, 2),
            "utilization_percent": self._utilization(first_ms, last_ms),
            "on_time": len(on_time),
            "with_deadline": len(with_deadline),
            "killed_node": self.killed,
            "resumed_from_checkpoint": bool(resumed),
            "frames": len(list(self.frames.glob("*.png"))),
            "events": self.farm.app.log.position(),
            "store": str(self.data_dir),
            "outputs": str(self.outputs),
            "contact_sheet": str(sheet) if sheet else None,
        }

    def _utilization(self, from_ms: int, to_ms: int) -> float:
        answer = self.farm.server.queries.get("/api/utilization", since=str(from_ms), until=str(to_ms))
        return float(answer["percent"])

    def _contact_sheet(self) -> Path | None:
        from adapters.samples import png  # noqa: PLC0415 (needs the samples extra)

        frames = sorted(self.frames.glob("frame_*.png"))
        if len(frames) != FRAMES:
            return None
        sheet = self.outputs / "contact-sheet.png"
        png.write_png(sheet, png.contact_sheet(frames, columns=6))
        return sheet

    def report(self, summary: dict[str, Any]) -> None:
        """The outcome for people: table, one explanation, one story, and where to look."""
        self.console.print()
        self.console.print(_summary_table(summary))
        percent = summary["utilization_percent"]
        self.console.print(
            f"{summary['seconds']} s of work, {percent} % of the farm's cores in use, "
            f"{summary['on_time']} of {summary['with_deadline']} deadlines met, "
            f"{summary['killed_node']} lost on the way, {summary['events']} events\n",
            highlight=False,
        )
        self.console.print("[bold]Why the critical job ran where and when it did[/]")
        explained = self.farm.server.queries.get(f"/api/explain/{self.critical}")
        self.console.print(escape(str(explained["text"])) + "\n", highlight=False)
        self.console.print("[bold]The story of n-body evolve[/]")
        for line in self.farm.story(self.jobs.evolve):
            self.console.print("  " + escape(line), highlight=False)
        self._directions(summary)

    def _directions(self, summary: dict[str, Any]) -> None:
        data = summary["store"]
        self.console.print(f"\npictures  {summary['contact_sheet']}\n          {summary['outputs']}", highlight=False)
        self.console.print(f"store     {data}\n\nLook further:", highlight=False)
        for command in (
            "queue --all",
            f"explain {self.jobs.render}",
            f"story {self.killed}",
            "audit",
            "queue --at @60",
        ):
            self.console.print(f"  milepost {command} --data {data}", highlight=False)


def _status(status: JobStatus) -> str:
    colours = {JobStatus.COMPLETED: "green", JobStatus.RUNNING: "cyan", JobStatus.FAILED: "red"}
    return f"[{colours.get(status, 'yellow')}]{status}[/]"


def _job_summary(row: Any) -> dict[str, Any]:
    wait_ms = (row.started_ms or row.ended_ms or row.submitted_ms) - (row.queued_ms or row.submitted_ms)
    late_ms = None if row.deadline_ms is None or row.ended_ms is None else row.ended_ms - row.deadline_ms
    return {
        "job_id": row.job_id,
        "name": row.name,
        "client": row.client_id,
        "status": str(row.status),
        "tasks": row.tasks,
        "succeeded": row.succeeded,
        "attempts": row.attempts,
        "wait_s": round(wait_ms / 1_000, 2),
        "run_s": round(((row.ended_ms or 0) - (row.started_ms or row.ended_ms or 0)) / 1_000, 2),
        "on_time": None if late_ms is None else late_ms <= 0,
    }


def _summary_table(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("job", "client", "status", "tasks", "tries", "waited", "ran", "on time"):
        table.add_column(column, no_wrap=True)
    for job in summary["jobs"]:
        on_time = {None: "", True: "yes", False: "no"}[job["on_time"]]
        tasks = f"{job['succeeded']}/{job['tasks']}"
        status = _status(JobStatus(job["status"]))
        times = (f"{job['wait_s']} s", f"{job['run_s']} s", on_time)
        table.add_row(escape(job["name"]), job["client"], status, tasks, str(job["attempts"]), *times)
    return table


def _is_ours(data_dir: Path) -> bool:
    """Whether a tour was here before."""
    return (data_dir / LOG_FILE).exists() and (data_dir / "outputs" / "frames").is_dir()


def run_demo(data_dir: Path | None, nodes: int, as_json: bool, console: Console) -> int:
    """The whole tour on a console that understands markup; 0 only if everything truly completed.

    In the directory of a tour that was interrupted it goes on. BadInput for one that holds anything else.
    """
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()) and not _is_ours(data_dir):
        raise errors.BadInput(problem=f"{data_dir} is not empty; the demo wants a directory of its own")
    data_dir = data_dir or Path(tempfile.mkdtemp(prefix="milepost-demo-"))
    timing = Timing(lease_ms=5_000, respawn_ms=-1)
    with Milepost.open(data_dir, nodes=nodes, timing=timing) as farm:
        demo = Demo(farm, data_dir.absolute(), console, quiet=as_json)
        summary = demo.summary(demo.run())
        if as_json:
            print(json.dumps(summary, indent=2))
        else:
            demo.report(summary)
    return 0 if summary["ok"] else 1
