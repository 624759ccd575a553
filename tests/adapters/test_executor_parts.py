"""The local executor's parts that need no process: lines, leases, timers, files, locks."""

import hashlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.executors.attempt_files import AttemptFiles, StartRecord, encode_line
from adapters.executors.background import Background
from adapters.executors.files import write_once, write_whole
from adapters.executors.layout import Layout, safe_name
from adapters.executors.lease import Lease
from adapters.executors.locks import is_held, lock_within, try_lock
from adapters.executors.process_lines import (
    MAX_LINE_BYTES,
    ContractLines,
    Malformed,
    Said,
    SaidCheckpoint,
    SaidFail,
    SaidPartial,
    SaidProgress,
    SaidStatus,
    said_in,
)
from adapters.executors.processes import all_stats, children_of, end_all, family, send, stat_of
from adapters.executors.pulse import Listening, Pulse
from adapters.executors.seals import PIECE_BYTES, Seal, seal
from adapters.executors.timers import Timers
from adapters.executors.wire import LineBuffer
from application.ports import AttemptExited, AttemptPartial, AttemptProgress, AttemptStarted
from domain.errors import BadInput
from tests.contracts.executor import launch

# -- what attempts print -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"openjd_progress: 12.7", SaidProgress(12)),
        (b"openjd_progress: 0", SaidProgress(0)),
        (b"openjd_progress: 100.0\r", SaidProgress(100)),
        (b"openjd_status: half way, nearly", SaidStatus("half way, nearly")),
        (b"openjd_status: \xff", SaidStatus("\N{REPLACEMENT CHARACTER}")),
        (b"openjd_fail: no licence", SaidFail("no licence")),
        (b'milepost_partial: {"path": "a.png", "quality": 50}', SaidPartial("a.png", 50)),
        (b'milepost_checkpoint: {"path": "/c", "progress": 99.9}', SaidCheckpoint("/c", 99)),
        (b'milepost_checkpoint: {"path": "/c"}', SaidCheckpoint("/c", 0)),
    ],
)
def test_a_line_of_the_contract_is_understood(line: bytes, said: Said) -> None:
    assert said_in(b"before\n" + line + b"\nafter") == [said]


@pytest.mark.parametrize(
    "line",
    [
        b"openjd_progress: 100.1", b"openjd_progress: -1", b"openjd_progress: nan", b"openjd_progress: inf",
        b"openjd_progress: half", b"openjd_progress:50", b"openjd_progress: ", b"openjd_status:",
        b"milepost_partial: {}", b"milepost_partial: a.png", b'milepost_partial: {"path": "", "quality": 1}',
        b'milepost_checkpoint: {"path": "a\\u0000b"}', b'milepost_checkpoint: {"path": 7}', b"milepost_checkpoint: {",
    ],
)  # fmt: skip
def test_a_malformed_line_is_seen_as_such(line: bytes) -> None:
    (said,) = said_in(line)
    assert isinstance(said, Malformed)
    assert said.problem


@pytest.mark.parametrize("line", [b" openjd_progress: 1", b"openjd_env: A=B", b"my openjd_fail: x", b"milepost_ok: 1"])
def test_other_lines_say_nothing(line: bytes) -> None:
    assert said_in(line) == []


LINES = st.lists(
    st.sampled_from(
        [b"openjd_progress: 5", b"openjd_status: ok", b"noise", b"", b"openjd_fail: " + b"y" * 20, b"z" * 50]
    )
)


@given(lines=LINES, cuts=st.lists(st.integers(0, 400)))
def test_how_output_is_cut_into_pieces_does_not_matter(lines: list[bytes], cuts: list[int]) -> None:
    text = b"\n".join(lines)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parser, said = ContractLines(), []
    for start, end in pairwise(edges):
        said += parser.feed(text[start:end])
    assert said + parser.end() == said_in(text)


@pytest.mark.parametrize("piece", [1_000, 70_000, 1 << 20])
def test_a_line_without_end_takes_no_memory_and_hides_nothing_behind_it(piece: int) -> None:
    text = b"openjd_status: " + b"x" * (3 * MAX_LINE_BYTES) + b"\nopenjd_progress: 7\n"
    parser, said = ContractLines(), []
    for start in range(0, len(text), piece):
        said += parser.feed(text[start : start + piece])
        assert len(parser._rest) <= MAX_LINE_BYTES + piece
    assert said[-1] == SaidProgress(7)


@given(lines=st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), cuts=st.lists(st.integers(0, 60)))
def test_messages_on_the_socket_survive_any_cutting(lines: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    buffer, got = LineBuffer(), []
    for start, end in pairwise(edges):
        got += buffer.feed(text[start:end])
    assert got == lines


# -- the lease ---------------------------------------------------------------------------------------------------------


def test_a_lease_is_over_when_a_living_server_was_silent_for_so_long() -> None:
    lease = Lease(lambda: True)
    assert not lease.is_over(1_000)  # nobody has ever greeted
    lease.renew(0, lease_s=10)
    assert not lease.is_over(9.9)
    assert lease.is_over(10)
    lease.renew(12)
    assert not lease.is_over(21)


def test_a_lease_never_ends_while_no_server_lives() -> None:
    lease = Lease(lambda: False)
    lease.renew(0, lease_s=10)
    lease.disconnect(1)
    assert not lease.is_over(1_000)


def test_a_server_that_starts_has_a_whole_lease_to_say_hello() -> None:
    alive = [False]
    lease = Lease(lambda: alive[0])
    lease.renew(0, lease_s=10)
    lease.disconnect(5)
    assert not lease.is_over(100)
    alive[0] = True
    assert not lease.is_over(101)  # seen for the first time: silent since 101
    assert not lease.is_over(110.9)
    assert lease.is_over(111)


def test_a_server_that_lives_but_hung_up_has_a_lease_from_then_on() -> None:
    lease = Lease(lambda: True)
    lease.renew(0, lease_s=10)
    lease.disconnect(5)
    assert not lease.is_over(14.9)
    assert lease.is_over(15)


# -- the pulse ---------------------------------------------------------------------------------------------------------


class Heart:
    """Both ends of a pipe from a supervisor to its guard, with a server that lives or not."""

    def __init__(self, server_lock: Path) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self.ends = (reading, writing)
        self.pulse, self.guard, self.server_lock = Pulse(writing), Listening(reading), server_lock
        self.lease = Lease(lambda: is_held(server_lock))

    def beat(self, now_s: float, silent_since_s: float | None) -> None:
        self.lease.lease_s, self.lease.silent_since_s = 10.0, silent_since_s
        self.pulse.beat(self.lease, self.server_lock, now_s)


@pytest.fixture
def heart(tmp_path: Path) -> Iterator[Heart]:
    heart = Heart(tmp_path / "server.lock")
    yield heart
    for end in heart.ends:
        os.close(end)


def test_a_supervisor_hangs_when_it_is_silent_and_its_lease_is_over(heart: Heart) -> None:
    assert not heart.guard.hangs(1_000)  # it has never beaten
    heart.beat(100, silent_since_s=100)
    lock = try_lock(heart.server_lock)
    assert lock is not None
    with lock:
        assert not heart.guard.hangs(200)  # it was heard just now
        assert heart.guard.hangs(200)
    heart.beat(300, silent_since_s=300)
    assert not heart.guard.hangs(301)
    assert not heart.guard.hangs(309.9)


def test_a_supervisor_that_beats_looks_after_its_lease_itself(heart: Heart) -> None:
    lock = try_lock(heart.server_lock)
    assert lock is not None
    with lock:
        heart.beat(100, silent_since_s=0)
        assert not heart.guard.hangs(100)
        assert not heart.guard.hangs(100.9)
        assert heart.guard.hangs(101)


def test_a_silent_supervisor_has_a_whole_lease_from_when_a_server_lives_again(heart: Heart) -> None:
    heart.beat(100, silent_since_s=100)
    assert not heart.guard.hangs(200)
    assert not heart.guard.hangs(200)
    lock = try_lock(heart.server_lock)
    assert lock is not None
    with lock:
        assert not heart.guard.hangs(210)
        assert not heart.guard.hangs(219.9)
        assert heart.guard.hangs(220)


def test_a_guard_that_does_not_listen_disturbs_nobody(heart: Heart) -> None:
    for n in range(5_000):
        heart.beat(n, silent_since_s=n)
    assert not heart.guard.hangs(5_000)
    os.close(heart.ends[0])
    heart.beat(5_001, silent_since_s=None)
    heart.ends = (os.open(os.devnull, os.O_RDONLY), heart.ends[1])


def test_killing_gives_up_at_its_time() -> None:
    immortal = stat_of(os.getppid())
    assert immortal is not None
    gone = immortal._replace(start_ticks=-1)  # as if another process had taken the pid
    assert end_all(lambda: [gone], until_s=time.monotonic() + 0.05) == 1


# -- timers ------------------------------------------------------------------------------------------------------------


def test_timers_run_what_is_due_in_order_and_leave_the_rest() -> None:
    now, ran = [0.0], []
    timers = Timers(lambda: now[0])
    assert timers.wait_s() is None
    timers.after(2, lambda: ran.append("late"))
    timers.after(1, lambda: ran.append("first"))

    def more() -> None:
        timers.after(0, lambda: ran.append("next time"))

    timers.after(1, more)
    assert timers.wait_s() == 1
    now[0] = 1.5
    timers.run_due()
    assert (ran, timers.wait_s()) == (["first"], 0)
    timers.run_due()
    assert (ran, timers.wait_s()) == (["first", "next time"], 0.5)


def test_timers_that_were_cancelled_take_no_room() -> None:
    ran: list[str] = []
    timers = Timers(lambda: 0.0)
    kept = timers.after(0, lambda: ran.append("kept"))
    for _ in range(10_000):
        timers.cancel(timers.after(1_000_000, lambda: ran.append("never")))
    assert len(timers) == 1
    assert len(timers._heap) < 200
    timers.run_due()
    timers.cancel(kept)
    assert (ran, len(timers)) == (["kept"], 0)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_once_however_many_try(tmp_path: Path) -> None:
    path = tmp_path / "end"
    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert path.read_bytes() == b"first"
    write_whole(path, b"third")
    assert [entry.name for entry in tmp_path.iterdir()] == ["end"]


def test_an_attempt_is_claimed_once_and_ends_once(tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "job.0.1")
    void = AttemptExited(attempt_id="job.0.1", message="void")
    assert files.claim(launch("job"))
    assert not files.claim(launch("job"))
    assert not files.claim_void(void)
    assert files.write_end(AttemptExited(attempt_id="job.0.1", exit_code=0))
    assert not files.write_end(void)
    assert files.replay() == [AttemptExited(attempt_id="job.0.1", exit_code=0)]


def test_a_replay_tells_everything_in_order_but_only_the_last_progress(tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "job.0.1")
    files.claim(launch("job"))
    files.write_start(StartRecord(pid=7, start_ticks=1, boot_id="b", at_ms=5))
    partial = AttemptPartial(attempt_id="job.0.1", path="/p", quality=10)
    progress = [AttemptProgress(attempt_id="job.0.1", percent=percent) for percent in (1, 2)]
    lines = [encode_line(report) for report in (progress[0], partial, progress[1])]
    files.reports.write_bytes(b"".join(lines) + b'{"report": "partial", "attempt_id": "job.0')
    started = AttemptStarted(attempt_id="job.0.1", at_ms=5, pid=7)
    assert files.replay() == [started, partial, progress[1]]


def test_what_a_power_cut_tore_reads_as_if_it_were_not_there(tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "job.0.1")
    files.claim(launch("job"))
    files.launch.write_bytes(b"")
    (files.folder / "start.json").write_bytes(b'{"pid": 7, "sta')
    files.reports.write_bytes(bytes(4096) + b"\n")
    assert (files.read_launch(), files.read_start(), files.replay()) == (None, None, [])


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/etc", "a\0b", "x" * 300])
def test_ids_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        safe_name(name)
    with pytest.raises(BadInput):
        Layout(Path("/data")).attempt(name)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_seal_is_size_and_hash(tmp_path: Path, size: int) -> None:
    path = tmp_path / "state"
    path.write_bytes(os.urandom(size))
    assert seal(path) == Seal(size, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_file_that_is_replaced_while_it_is_read_has_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"one")
    read = os.read

    def replacing(descriptor: int, count: int) -> bytes:
        write_whole(path, b"two", durable=False)
        return read(descriptor, count)

    monkeypatch.setattr("adapters.executors.seals.os.read", replacing)
    assert seal(path) == "it was changed while it was read"


def test_what_is_no_file_has_no_seal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert seal(tmp_path / "missing") == "No such file or directory"
    assert seal(tmp_path / "pipe") == "it is not a regular file"
    assert seal(tmp_path) == "it is not a regular file"


# -- work in the background --------------------------------------------------------------------------------------------


def test_work_is_done_by_threads_and_what_follows_by_the_loop(tmp_path: Path) -> None:
    selector, results = selectors.DefaultSelector(), list[object]()
    background = Background(selector, threads=2)
    background.do(threading.get_ident, results.append)
    background.do((tmp_path / "missing").read_bytes, results.append)
    while len(results) < 2:
        turn(selector)
    assert threading.get_ident() not in results
    assert any(isinstance(result, FileNotFoundError) for result in results)


def test_a_mistake_in_the_background_is_raised_in_the_loop() -> None:
    selector = selectors.DefaultSelector()
    Background(selector, threads=1).do(lambda: 1 // 0, lambda result: None)
    with pytest.raises(ZeroDivisionError):
        turn(selector)


def turn(selector: selectors.BaseSelector) -> None:
    for key, _ in selector.select(10):
        key.data()


# -- locks and processes -----------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_looking_at_it_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    lock = try_lock(path)
    assert lock is not None
    assert is_held(path)
    assert try_lock(path) is None
    assert lock_within(path, 0.02) is None
    lock.release()
    assert not is_held(path)
    with lock_within(path, 0) or pytest.fail("the lock is free"):
        assert is_held(path)


def test_a_lock_is_free_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""import time, pathlib, adapters.executors.locks as locks
lock = locks.try_lock(pathlib.Path({str(path)!r}))
print(1, flush=True)
time.sleep(600)"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_held(path)
        holder.kill()
    assert not is_held(path)


def test_the_kernel_knows_this_process_and_its_children() -> None:
    own = stat_of(os.getpid())
    assert own is not None
    assert (own.parent, own.session) == (os.getppid(), os.getsid(0))
    assert own.rss_kib > 1_000
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        assert child.pid in children_of(os.getpid())
        stat = stat_of(child.pid)
        assert stat is not None
        assert [member.pid for member in family(child.pid, all_stats())] == [child.pid]
        assert not send(stat._replace(start_ticks=stat.start_ticks + 1), SIGKILL)  # another process with the same pid
        assert send(stat, SIGKILL)
    assert stat_of(child.pid) is None
