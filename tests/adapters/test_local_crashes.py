"""Servers and supervisors die at any moment: what runs goes on or ends, but never unseen and never twice."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.executors.attempt_files import AttemptFiles
from adapters.executors.layout import Layout
from adapters.executors.local import LocalExecutor, kill_node
from adapters.executors.locks import is_held, try_lock
from application.ports import AttemptExited, AttemptProgress, AttemptStarted, Launch, NodeGone, NodeUp
from domain.errors import NodeStateForbids
from domain.job.values import FailureClass
from tests.adapters.local_farm import NODES, LocalFarm, descendants, eventually, running_family
from tests.contracts.executor import Watch, launch

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import sys
from pathlib import Path
from tests.adapters.local_farm import NODES
from tests.contracts.executor import Watch, launch
from adapters.executors.local import LocalExecutor

executor = LocalExecutor(Path(sys.argv[1]), NODES[:1])
executor.open()
attempt = launch(sys.argv[2], *sys.argv[3:])
executor.start([attempt])
print(Watch(executor).started(attempt).pid, flush=True)
executor.reports(600)
sys.stdin.read()
"""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[LocalFarm]:
    farm = LocalFarm(tmp_path)
    yield farm
    farm.close()


def server_killed_while_running(farm: LocalFarm, name: str, *argv: str) -> int:
    """Let a server start an attempt and kill it without warning; the pid of the attempt."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(farm.data_dir), name, *argv],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    return pid


def kill_supervisor(farm: LocalFarm, *, guard_too: bool = False) -> None:
    """Kill the supervisor alone, or its guard before it, so that nobody clears away."""
    identity = farm.identity()
    if guard_too:
        os.kill(identity.guard_pid, signal.SIGKILL)
    os.kill(identity.pid, signal.SIGKILL)


def counting(farm: LocalFarm, name: str, then: str = "") -> Launch:
    """An attempt that leaves a line whenever it is run."""
    return launch(name, "sh", "-c", f"echo ran >> {farm.folder}/{name}.runs; {then}")


def runs(farm: LocalFarm, name: str) -> int:
    path = farm.folder / f"{name}.runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


# -- the fence ---------------------------------------------------------------------------------------------------------


def test_an_attempt_asked_for_by_two_servers_again_and_again_runs_once(farm: LocalFarm) -> None:
    attempt = counting(farm, "once")
    first = farm.up()
    first.executor.start([attempt] * 5)
    second = farm.up()
    second.executor.start([attempt] * 5)
    assert second.end(attempt).failure is None
    second.forget()
    second.executor.start([attempt])
    assert second.end(attempt).failure is None
    assert runs(farm, "once") == 1


def test_a_server_that_was_superseded_is_told_so_and_cannot_come_back(farm: LocalFarm) -> None:
    first = farm.up()
    second = farm.up()
    eventually(lambda: is_refused(first))
    kill_supervisor(farm)
    second.first(NodeGone)
    second.executor.start_node("node-1")
    second.executor.start([attempt := launch("served", "true")])
    assert second.end(attempt).failure is None
    assert is_refused(first)


def is_refused(watch: Watch) -> bool:
    try:
        watch.executor.suspend(launch("any", "true"))
    except NodeStateForbids:
        return True
    return False


# -- the server dies ---------------------------------------------------------------------------------------------------


def test_an_attempt_outlives_its_server_and_is_reported_to_the_next_one(farm: LocalFarm) -> None:
    gate = farm.folder / "gate"
    script = f"echo openjd_progress: 30; while ! [ -e {gate} ]; do sleep 0.02; done; exit 5"
    pid = server_killed_while_running(farm, "survivor", "sh", "-c", script)
    watch = farm.executor()
    watch.executor.start([attempt := launch("survivor", "sh", "-c", script)])
    assert watch.started(attempt).pid == pid
    assert watch.first(AttemptProgress).percent == 30
    gate.touch()
    end = watch.end(attempt)
    assert (end.exit_code, end.started_ms) == (5, watch.started(attempt).at_ms)


def test_an_end_that_no_server_saw_is_reported_when_asked_for(farm: LocalFarm) -> None:
    attempt = counting(farm, "alone", "sleep 0.1; echo openjd_progress: 70")
    server_killed_while_running(farm, "alone", *attempt.work.argv)
    eventually(lambda: not Layout(farm.data_dir).node("node-1").live_attempts())
    watch = farm.executor()
    watch.executor.start([attempt])
    assert watch.end(attempt).exit_code == 0
    assert watch.kinds(attempt) == ["started", "progress", "exited"]
    assert runs(farm, "alone") == 1


def test_an_attempt_can_be_terminated_by_the_next_server(farm: LocalFarm) -> None:
    server_killed_while_running(farm, "handed", "sleep", "600")
    watch = farm.executor()
    watch.executor.terminate(attempt := launch("handed", "sleep", "600"), grace_ms=5_000)
    assert watch.end(attempt).signal == 15


def test_a_closed_executor_leaves_its_attempts_alone(farm: LocalFarm) -> None:
    first = farm.up()
    first.executor.start([attempt := launch("left", "sleep", "600")])
    started = first.started(attempt)
    first.executor.close()
    second = farm.executor()
    second.executor.start([attempt])
    assert second.started(attempt) == started


# -- the supervisor dies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard_too", [False, True])
def test_when_a_supervisor_dies_its_attempts_are_dead_before_the_node_is_gone(farm: LocalFarm, guard_too: bool) -> None:
    watch = farm.up()
    attempt = running_family(farm, watch, "orphan")
    kill_supervisor(farm, guard_too=guard_too)
    gone = watch.first(NodeGone)
    assert farm.processes() == []
    assert gone.why == "its supervisor died"
    watch.executor.start([attempt])
    assert watch.end(attempt).failure is FailureClass.LOST


def test_without_any_server_the_guard_ends_what_a_supervisor_leaves(farm: LocalFarm) -> None:
    server_killed_while_running(farm, "guarded", "sh", "-c", "setsid sleep 600 & sleep 600")
    kill_supervisor(farm)
    eventually(lambda: farm.processes() == [])


def test_a_node_that_died_in_silence_is_buried_and_stays_down_until_it_is_started(farm: LocalFarm) -> None:
    server_killed_while_running(farm, "silent", "sh", "-c", "setsid sleep 600 & sleep 600")
    kill_supervisor(farm, guard_too=True)
    eventually(farm.processes)  # a process that is just being executed has no environment to be known by
    watch = farm.executor()
    watch.executor.start([attempt := launch("silent", "true")])
    assert watch.first(NodeGone).why.startswith("its supervisor died")
    assert farm.processes() == []
    assert not is_held(Layout(farm.data_dir).node("node-1").lock)
    assert not watch.of(NodeUp)
    watch.executor.start_node("node-1")
    watch.first(NodeUp)
    watch.executor.start([attempt])
    assert watch.end(attempt).failure is FailureClass.LOST
    watch.executor.start([fresh := launch("fresh", "true")])
    assert watch.end(fresh).failure is None


def test_an_end_recorded_before_the_supervisor_died_is_reported_before_the_node_is_gone(farm: LocalFarm) -> None:
    watch = farm.up()
    watch.executor.start([attempt := launch("unsaid", "sleep", "600")])
    started = watch.started(attempt)
    # As if the supervisor had died between recording the end and reporting it.
    end = AttemptExited(attempt_id=attempt.attempt_id, exit_code=6, failure=FailureClass.EXIT, started_ms=started.at_ms)
    os.kill(farm.identity().pid, signal.SIGSTOP)
    AttemptFiles(Layout(farm.data_dir).attempt(attempt.attempt_id)).write_end(end)
    kill_supervisor(farm)
    watch.first(NodeGone)
    assert watch.of(AttemptExited) == [end]
    assert watch.seen.index(end) < watch.seen.index(watch.of(NodeGone)[0])


def test_an_end_recorded_before_server_and_supervisor_died_counts(farm: LocalFarm) -> None:
    script = "sleep 0.05; exit 6"
    server_killed_while_running(farm, "done", "sh", "-c", script)
    attempt = launch("done", "sh", "-c", script)
    eventually(lambda: AttemptFiles(Layout(farm.data_dir).attempt(attempt.attempt_id)).read_end())
    kill_node(farm.data_dir, "node-1")
    watch = farm.executor()
    watch.executor.start([attempt])
    assert watch.end(attempt).exit_code == 6
    assert watch.kinds(attempt) == ["started", "exited"]


def test_killing_a_node_is_noticed_and_leaves_nothing(farm: LocalFarm) -> None:
    watch = farm.up(nodes=2)
    running_family(farm, watch, "cut")
    kill_node(farm.data_dir, "node-1")
    assert farm.processes() == []
    assert watch.first(NodeGone).node_id == "node-1"
    watch.executor.start([other := launch("other", "true", node="node-2")])
    assert watch.end(other).failure is None


def test_a_node_that_was_stopped_in_order_is_started_by_the_next_server(farm: LocalFarm) -> None:
    watch = farm.up()
    watch.executor.stop_node("node-1")
    assert watch.first(NodeGone).why == "it was stopped"
    farm.up()


def test_a_supervisor_told_to_end_by_signal_ends_in_order(farm: LocalFarm) -> None:
    watch = farm.up()
    watch.executor.start([attempt := launch("ordered", "sleep", "600")])
    watch.started(attempt)
    os.kill(farm.identity().pid, signal.SIGTERM)
    end = watch.end(attempt)
    assert (end.signal, end.failure, end.message) == (15, FailureClass.LOST, "node-1 was stopped")
    assert watch.first(NodeGone).why == "it was stopped"


def test_a_supervisor_that_died_with_nothing_to_do_is_started_at_once(farm: LocalFarm) -> None:
    farm.up().executor.close()
    kill_supervisor(farm, guard_too=True)
    eventually(lambda: not is_held(Layout(farm.data_dir).node("node-1").lock))
    watch = farm.up()
    assert not watch.of(NodeGone)


def test_an_executor_hangs_up_when_nodes_that_were_told_to_stop_have_ended(farm: LocalFarm) -> None:
    watch = farm.up(nodes=2)
    watch.executor.stop_node("node-1")
    watch.executor.close()
    assert [is_held(Layout(farm.data_dir).node(f"node-{n}").lock) for n in (1, 2)] == [False, True]


def test_a_node_that_is_configured_no_longer_is_stopped(farm: LocalFarm) -> None:
    farm.up(nodes=2).executor.close()
    watch = farm.up(nodes=1)
    assert watch.first(NodeGone).node_id == "node-2"
    assert not watch.of(NodeUp, node_id="node-2")
    watch.forget()
    watch.executor.start_node("node-2")
    assert watch.first(NodeGone).why == "it is configured no longer"


def test_a_supervisor_that_cannot_start_is_reported_with_the_cause(farm: LocalFarm) -> None:
    folder = Layout(farm.data_dir).node("node-1")
    (folder.folder / "socket" / "in the way").mkdir(parents=True)
    gone = farm.executor().first(NodeGone)
    assert gone.why.startswith("its supervisor could not be started: ")
    assert "directory" in gone.why.lower()


def test_a_node_that_is_left_over_finishes_what_it_runs_and_is_not_started_again(farm: LocalFarm) -> None:
    first = farm.up(nodes=2)
    first.executor.start([attempt := launch("last", "sleep", "600", node="node-2")])
    first.started(attempt)
    first.executor.close()
    watch = farm.up(left_over=NODES[1:])
    watch.first(NodeUp, node_id="node-2")
    watch.executor.start([attempt])
    watch.started(attempt)
    kill_node(farm.data_dir, "node-2")
    gone = watch.first(NodeGone)
    assert (gone.node_id, gone.verified, gone.for_good) == ("node-2", True, True)
    watch.forget()
    watch.executor.start_node("node-2")
    assert watch.first(NodeGone).for_good


def test_a_node_of_an_earlier_configuration_that_is_dead_and_empty_is_not_spoken_of(farm: LocalFarm) -> None:
    farm.up(nodes=2).executor.close()
    kill_node(farm.data_dir, "node-2")
    watch = farm.up()
    watch.executor.start([attempt := launch("other", "true")])
    watch.end(attempt)
    assert not watch.of(NodeGone)


def test_a_node_ends_when_nothing_runs_and_no_server_has_lived_for_a_while(farm: LocalFarm) -> None:
    gate = farm.folder / "gate"
    watch = farm.up(nodes=2, idle_ms=300)
    watch.executor.start([attempt := launch("waiting", "sh", "-c", f"while ! [ -e {gate} ]; do sleep 0.02; done")])
    watch.started(attempt)
    watch.executor.close()
    folder, other = (Layout(farm.data_dir).node(f"node-{n}") for n in (1, 2))
    eventually(other.stopped.exists)
    assert not folder.stopped.exists()
    gate.touch()
    eventually(folder.stopped.exists)


# -- the lease ---------------------------------------------------------------------------------------------------------


def test_a_node_cut_off_from_a_living_server_ends_its_attempts(farm: LocalFarm) -> None:
    farm.data_dir.mkdir()
    lock = try_lock(Layout(farm.data_dir).server_lock)
    assert lock is not None
    with lock:
        watch = farm.up(lease_ms=300, heartbeat_ms=600_000)
        watch.executor.start([attempt := launch("cut-off", "sleep", "600")])
        end = watch.end(attempt)
    assert (end.signal, end.failure, end.message) == (9, FailureClass.LOST, "node-1 was cut off from the server")


def test_without_a_living_server_attempts_go_on(farm: LocalFarm) -> None:
    watch = farm.up(lease_ms=200, heartbeat_ms=600_000)
    watch.executor.start([attempt := launch("going", "sh", "-c", "sleep 0.8")])
    assert watch.end(attempt).failure is None


def test_a_renewed_lease_does_not_end(farm: LocalFarm) -> None:
    farm.data_dir.mkdir()
    with Layout(farm.data_dir).server_lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        watch = farm.up(lease_ms=900, heartbeat_ms=50)
        watch.executor.start([attempt := launch("renewed", "sh", "-c", "sleep 1.3")])
        assert watch.end(attempt).failure is None


# -- whatever comes through the door -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"ask": "start", "number": 1}\n',
        b'{"ask": "stop", "number": 1}\n',
        b"\xff\xfe\x00" * 1000 + b"\n",
        b"[" * 100_000 + b"\n",
        b'{"ask": "hello", "lease_ms": "soon", "server_lock": ""}\n',
    ],
)
def test_garbage_on_the_socket_disturbs_nobody(farm: LocalFarm, garbage: bytes) -> None:
    watch = farm.up()
    half, whole = knock(farm), knock(farm)
    half.sendall(b'{"ask": "hel')
    whole.sendall(garbage)
    assert whole.recv(1) == b""
    watch.executor.start([attempt := launch("unshaken", "true")])
    assert watch.end(attempt).failure is None
    half.close()
    whole.close()


def knock(farm: LocalFarm) -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(Layout(farm.data_dir).node("node-1").folder, os.O_PATH)
    visitor.connect(f"/proc/self/fd/{folder}/socket")
    os.close(folder)
    visitor.settimeout(10)
    return visitor


def test_a_crowd_of_strangers_is_sent_away(farm: LocalFarm) -> None:
    watch = farm.up()
    crowd = [knock(farm) for _ in range(40)]
    poll = select.poll()
    for visitor in crowd:
        poll.register(visitor, select.POLLIN)
    eventually(lambda: len(poll.poll(0)) >= 20)
    watch.executor.start([attempt := launch("crowded", "true")])
    assert watch.end(attempt).failure is None
    for visitor in crowd:
        visitor.close()


def test_a_stale_socket_and_a_stale_lock_file_confuse_nobody(farm: LocalFarm) -> None:
    folder = Layout(farm.data_dir).node("node-1")
    farm.up().executor.stop_node("node-1")
    eventually(folder.stopped.exists)
    assert folder.socket.exists()
    watch = farm.up()
    watch.executor.start([attempt := launch("fresh", "true")])
    assert watch.end(attempt).failure is None


def test_a_deep_data_directory_is_no_obstacle(farm: LocalFarm) -> None:
    farm.data_dir = farm.folder.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    watch = farm.up()
    watch.executor.start([attempt := launch("deep", "true")])
    assert watch.end(attempt).failure is None


def test_a_supervisor_loads_nothing_heavy() -> None:
    heavy = "{'sqlalchemy', 'eventsourcing', 'asyncio', 'litestar'}"
    code = f"import sys, adapters.executors.supervisor; print({heavy} & set(sys.modules))"
    listing = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listing.stdout == "set()\n"


def test_supervisors_leave_no_zombies(farm: LocalFarm) -> None:
    watch = farm.up(nodes=2)
    watch.executor.start([attempt := launch("spawned", "sh", "-c", "(sleep 0.01 &) ; exit 0")])
    watch.end(attempt)
    supervisor = farm.identity().pid
    eventually(lambda: descendants(supervisor) == [])
    assert descendants(os.getpid()) == []


def test_started_is_reported_before_anything_else_even_to_a_new_server(farm: LocalFarm) -> None:
    first = farm.up()
    script = "while :; do echo openjd_progress: 1; echo openjd_progress: 2; sleep 0.01; done"
    first.executor.start([attempt := launch("order", "sh", "-c", script)])
    first.started(attempt)
    first.executor.close()
    second = farm.executor()
    second.first(AttemptProgress)
    assert second.kinds(attempt)[0] == "started"
    assert second.of(AttemptStarted) == first.of(AttemptStarted)


def test_one_executor_per_life() -> None:
    executor = LocalExecutor(Path("/nowhere"), NODES)
    executor.close()
