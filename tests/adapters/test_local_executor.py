"""Real processes on logical nodes: how they are started, heard, limited, suspended and ended."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.executors.host import ZERO_CORE_AT_ONCE
from adapters.executors.local import LocalExecutor, machine_nodes, read_output
from adapters.importers.openjd import load_template
from application.ports import (
    AttemptCheckpoint,
    AttemptExited,
    AttemptPartial,
    AttemptProgress,
    AttemptStarted,
    Launch,
    NodeGone,
    NodeUp,
)
from domain.errors import BadInput
from domain.job.values import FailureClass, Work
from domain.resources import Resources
from tests.adapters.local_farm import NODES, LocalFarm, commands, eventually
from tests.contracts.executor import ExecutorContract, Watch, launch


class TestLocalExecutor(ExecutorContract):
    def make_executor(self, folder: Path) -> LocalExecutor:
        return LocalExecutor(folder / "data", NODES, heartbeat_ms=50)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFarm]:
    farm = LocalFarm(tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def node(farm: LocalFarm) -> Watch:
    return farm.up()


@pytest.fixture
def watch(node: Watch) -> Watch:
    node.forget()
    return node


def run(watch: Watch, attempt: Launch) -> AttemptExited:
    watch.executor.start([attempt])
    return watch.end(attempt)


def shell(name: str, script: str) -> Launch:
    return launch(name, "sh", "-c", script)


def python(name: str, code: str, memory_mib: int = 0) -> Launch:
    return launch(name, sys.executable, "-S", "-c", code, memory_mib=memory_mib)


def printed(farm: LocalFarm, attempt: Launch) -> str:
    return read_output(farm.data_dir, attempt.attempt_id).read_text()


# -- starting ----------------------------------------------------------------------------------------------------------


def test_standard_output_and_standard_error_are_kept_in_one_file(farm: LocalFarm, watch: Watch) -> None:
    attempt = shell("printing", "echo one; echo two >&2; printf three")
    assert run(watch, attempt).failure is None
    assert printed(farm, attempt) == "one\ntwo\nthree"


def test_an_attempt_knows_who_it_is(farm: LocalFarm, watch: Watch) -> None:
    work = Work(argv=("env",), env={"COLOUR": "blue", "MILEPOST_TASK": "99"})
    attempt = Launch(
        attempt_id="known.7.2",
        job_id="known",
        task=7,
        attempt=2,
        node_id="node-1",
        nodes=(("node-1", 4), ("node-2", 2)),
        work=work,
        resources=Resources(),
        grace_ms=1_000,
        workflow_id="flow",
        output_dir=str(farm.folder / "results"),
        restore_from="/saved",
    )
    run(watch, attempt)
    environment = dict(line.split("=", 1) for line in printed(farm, attempt).splitlines())
    expected = {
        "MILEPOST_WORKFLOW_ID": "flow",
        "MILEPOST_JOB_ID": "known",
        "MILEPOST_TASK": "7",
        "MILEPOST_ATTEMPT": "known.7.2",
        "MILEPOST_CHECKPOINT_DIR": str(farm.data_dir / "jobs/known/checkpoints/7"),
        "MILEPOST_OUTPUT_DIR": str(farm.folder / "results"),
        "MILEPOST_RESTORE_FROM": "/saved",
        "MILEPOST_NODES": "node-1:4,node-2:2",
        "COLOUR": "blue",
    }
    assert environment.items() >= expected.items()
    assert environment["PATH"].split(":")[-1] == str(Path(sys.executable).parent)
    assert "PYTEST_CURRENT_TEST" not in environment
    assert Path(environment["MILEPOST_OUTPUT_DIR"]).is_dir()
    assert Path(environment["MILEPOST_CHECKPOINT_DIR"]).is_dir()


def test_what_is_not_so_is_not_said(farm: LocalFarm, watch: Watch) -> None:
    attempt = launch("plain", "env")
    run(watch, attempt)
    assert "MILEPOST_RESTORE_FROM" not in printed(farm, attempt)
    assert "MILEPOST_WORKFLOW_ID" not in printed(farm, attempt)
    assert f"MILEPOST_OUTPUT_DIR={farm.data_dir}/jobs/plain/output" in printed(farm, attempt)


def test_placeholders_in_arguments_are_filled_in(farm: LocalFarm, watch: Watch) -> None:
    attempt = launch("filled", "echo", "{task}/{job}/{attempt}/{other}{", task=12)
    run(watch, attempt)
    assert printed(farm, attempt) == "12/filled/filled.12.1/{other}{\n"


def test_an_attempt_runs_in_a_directory_of_its_own_or_where_the_work_says(farm: LocalFarm, watch: Watch) -> None:
    own = launch("own", "pwd")
    run(watch, own)
    assert printed(farm, own) == f"{farm.data_dir}/attempts/own.0.1/work\n"
    said = launch("said", work=Work(argv=("pwd",), cwd=str(farm.folder)))
    run(watch, said)
    assert printed(farm, said) == f"{farm.folder}\n"


@pytest.mark.parametrize(
    ("name", "work", "message"),
    [
        ("missing", Work(argv=("no-such-program",)), "there is no program 'no-such-program'"),
        ("absent", Work(argv=("/no/such/program",)), "there is no program '/no/such/program'"),
        ("nowhere", Work(argv=("true",), cwd="/no/such/directory"), "there is no directory '/no/such/directory'"),
        ("forbidden", Work(argv=("/etc/passwd",)), "Permission denied"),
        ("nothing", Work(), "the work names no program"),
        ("null", Work(argv=("a\0b",)), "null byte"),
        ("variable", Work(argv=("true",), env={"A=B": "c"}), "illegal environment variable name"),
        ("runner", Work(argv=("true",), runner="punchcards"), "there is no runner 'punchcards'"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(
    farm: LocalFarm, watch: Watch, name: str, work: Work, message: str
) -> None:
    attempt = launch(name, work=work)
    end = run(watch, attempt)
    assert (end.exit_code, end.signal, end.failure) == (None, None, FailureClass.LAUNCH)
    assert message in end.message
    assert watch.kinds(attempt) == ["exited"]


def test_an_id_that_leads_out_of_the_data_directory_is_refused(watch: Watch) -> None:
    with pytest.raises(BadInput):
        watch.executor.start([launch("../../etc", "true")])


# -- ending ------------------------------------------------------------------------------------------------------------


def test_an_attempt_that_a_signal_ended_says_which(watch: Watch) -> None:
    end = run(watch, shell("signalled", "kill -USR1 $$"))
    assert (end.exit_code, end.signal, end.failure) == (None, 10, FailureClass.SIGNAL)
    assert end.message == "ended by SIGUSR1"


def test_a_declared_failure_counts_only_when_the_exit_code_says_failure_too(watch: Watch) -> None:
    failed = run(watch, shell("declared", "echo openjd_fail: out of paint; exit 4"))
    assert (failed.exit_code, failed.failure, failed.message) == (4, FailureClass.DECLARED, "out of paint")
    went_well = run(watch, shell("worried", "echo openjd_fail: out of paint"))
    assert (went_well.exit_code, went_well.failure) == (0, None)


def test_the_end_says_what_the_attempt_used(watch: Watch) -> None:
    code = "x = b'1' * (80 << 20)\nimport time\nwhile time.process_time() < 0.2: pass"
    end = run(watch, python("used", code))
    assert 200 <= end.cpu_ms < 5_000
    assert 80 <= end.max_rss_mib < 200


def test_an_attempt_that_wants_to_leave_has_its_grace_period(farm: LocalFarm, watch: Watch) -> None:
    attempt = shell("polite", "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    watch.executor.start([attempt])
    eventually(lambda: "ready" in printed_so_far(farm, attempt))
    watch.executor.terminate(attempt, grace_ms=10_000)
    end = watch.end(attempt)
    # Exit code 0 after being told to end does not mean that the work was done.
    assert (end.exit_code, end.failure, end.message) == (0, FailureClass.SIGNAL, "told to end")
    assert printed(farm, attempt).endswith("saved\n")


def printed_so_far(farm: LocalFarm, attempt: Launch) -> str:
    path = read_output(farm.data_dir, attempt.attempt_id)
    return path.read_text() if path.exists() else ""


def test_nothing_survives_an_attempt_that_ignores_every_request(farm: LocalFarm, watch: Watch) -> None:
    script = """trap '' TERM
    (trap '' TERM; setsid sh -c 'trap "" TERM; sleep 600; sleep 600' & sleep 600) &
    set -m; sleep 600 & set +m
    echo ready; while :; do sleep 600; done"""
    attempt = shell("stubborn", script)
    watch.executor.start([attempt])
    eventually(lambda: "ready" in printed_so_far(farm, attempt) and len(farm.processes(attempt)) >= 6)
    watch.executor.terminate(attempt, grace_ms=100)
    end = watch.end(attempt)
    assert (end.signal, end.failure) == (9, FailureClass.SIGNAL)
    assert farm.processes(attempt) == []


def test_what_an_attempt_leaves_running_ends_with_it(farm: LocalFarm, watch: Watch) -> None:
    seconds = "612.345"  # nobody else sleeps so long
    attempt = shell("untidy", f"sleep {seconds} & setsid sleep {seconds} & (env -i setsid sleep {seconds} &) ; exit 0")
    assert run(watch, attempt).failure is None
    assert ["sleep", seconds] not in commands().values()


def test_an_attempt_over_its_walltime_ends(watch: Watch) -> None:
    end = run(watch, launch("slow", "sleep", "600", walltime_ms=100))
    assert (end.signal, end.failure) == (15, FailureClass.WALLTIME)
    assert end.message == "ran longer than its walltime of 100 ms"


def test_walltime_stands_still_while_an_attempt_is_suspended(farm: LocalFarm, watch: Watch) -> None:
    attempt = launch("frozen", "sh", "-c", "sleep 600 & wait", walltime_ms=400)
    watch.executor.start([attempt])
    watch.started(attempt)
    eventually(lambda: len(farm.processes(attempt)) == 2)
    watch.executor.suspend(attempt)
    watch.executor.suspend(attempt)
    eventually(lambda: stands_still(farm, attempt))
    nothing_ends(watch, attempt, 0.8)
    watch.executor.resume(attempt)
    end = watch.end(attempt)
    assert end.failure is FailureClass.WALLTIME
    assert end.ended_ms is not None
    assert end.started_ms is not None
    assert end.ended_ms - end.started_ms >= 1_100


def stands_still(farm: LocalFarm, attempt: Launch) -> bool:
    # A shell that was about to start a program waits for it in the kernel ("disk sleep") until that goes on (`vfork`).
    states = {process.status() for process in farm.processes(attempt)}
    return "stopped" in states and states <= {"stopped", "disk-sleep"}


def nothing_ends(watch: Watch, attempt: Launch, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0:
        watch.seen += watch.executor.reports(left_s)
    assert not watch.of(AttemptExited, attempt_id=attempt.attempt_id)


def test_a_suspended_attempt_goes_on_where_it_was(farm: LocalFarm, watch: Watch) -> None:
    attempt = shell("paused", "while ! [ -e go ]; do sleep 0.02; done; echo went")
    watch.executor.start([attempt])
    watch.started(attempt)
    watch.executor.suspend(attempt)
    eventually(lambda: stands_still(farm, attempt))
    (farm.data_dir / "attempts" / attempt.attempt_id / "work" / "go").touch()
    watch.executor.resume(attempt)
    assert watch.end(attempt).failure is None
    assert printed(farm, attempt) == "went\n"


def test_a_suspended_attempt_can_be_told_to_end(farm: LocalFarm, watch: Watch) -> None:
    attempt = shell("stuck", "trap 'echo bye; exit 1' TERM; while :; do sleep 0.02; done")
    watch.executor.start([attempt])
    watch.started(attempt)
    watch.executor.suspend(attempt)
    eventually(lambda: stands_still(farm, attempt))
    watch.executor.terminate(attempt, grace_ms=10_000)
    assert watch.end(attempt).failure is FailureClass.SIGNAL


def test_an_attempt_over_its_memory_limit_ends(watch: Watch) -> None:
    code = "import time\nx = b'1' * (150 << 20)\ntime.sleep(600)"
    end = run(watch, python("hungry", code, memory_mib=64))
    assert (end.signal, end.failure) == (9, FailureClass.MEMORY)
    assert end.message.endswith("MiB of memory, its limit is 64 MiB")
    assert end.max_rss_mib > 64


def test_memory_that_was_used_and_given_back_between_two_looks_counts_in_the_end(watch: Watch) -> None:
    end = run(watch, python("hasty", "x = b'1' * (300 << 20)", memory_mib=100))
    assert end.failure is FailureClass.MEMORY
    assert end.message.endswith("MiB of memory, its limit is 100 MiB")
    assert end.max_rss_mib >= 300


def test_what_a_process_inherits_from_its_supervisor_is_not_held_against_it(watch: Watch) -> None:
    assert run(watch, launch("tiny", "true", memory_mib=1)).failure is None


def test_memory_that_processes_share_is_counted_once(watch: Watch) -> None:
    code = """import os, time
x = b'1' * (60 << 20)
for _ in range(3):
    if os.fork() == 0:
        break
time.sleep(0.8)"""
    assert run(watch, python("sharing", code, memory_mib=130)).failure is None


# -- attempts without processor time -----------------------------------------------------------------------------------


def test_attempts_without_processor_time_are_bounded_in_number_and_all_have_their_turn(tmp_path: Path) -> None:
    farm = LocalFarm(tmp_path)
    try:
        watch, gate = farm.up(), tmp_path / "gate"
        script = f"while ! [ -e {gate} ]; do sleep 0.2; done"
        attempts = [launch("idle", "sh", "-c", script, task=n) for n in range(ZERO_CORE_AT_ONCE + 6)]
        watch.executor.start(attempts)
        for attempt in attempts[:ZERO_CORE_AT_ONCE]:
            watch.started(attempt)
        *waiting, unwanted, paused = attempts[ZERO_CORE_AT_ONCE:]
        watch.executor.terminate(unwanted, grace_ms=0)
        assert watch.end(unwanted).message == "never started"
        watch.executor.suspend(paused)
        watch.executor.start(attempts)  # asked for again, as a server does when it is started
        watch.executor.start([worker := replace(launch("worker", "true"), resources=Resources(millicores=1))])
        assert watch.end(worker).failure is None
        assert len({started.attempt_id for started in watch.of(AttemptStarted)}) == ZERO_CORE_AT_ONCE + 1
        gate.touch()
        for attempt in (*attempts[:ZERO_CORE_AT_ONCE], *waiting):
            assert watch.end(attempt).failure is None
        assert not watch.of(AttemptStarted, attempt_id=paused.attempt_id)
        watch.executor.resume(paused)
        assert watch.end(paused).failure is None
    finally:
        farm.close()


def test_a_node_that_stops_ends_also_those_that_wait_for_their_turn(tmp_path: Path) -> None:
    farm = LocalFarm(tmp_path)
    try:
        watch = farm.up()
        attempts = [launch("many", "sleep", "600", task=n) for n in range(ZERO_CORE_AT_ONCE + 1)]
        watch.executor.start(attempts)
        watch.started(attempts[ZERO_CORE_AT_ONCE - 1])
        watch.executor.stop_node("node-1")
        assert watch.end(attempts[-1]).started_ms is None
        watch.first(NodeGone)
    finally:
        farm.close()


# -- the process contract ----------------------------------------------------------------------------------------------


def test_progress_and_status_are_reported(watch: Watch) -> None:
    attempt = shell("telling", "echo openjd_progress: 12.5; echo openjd_status: warming up; echo openjd_progress: 100")
    run(watch, attempt)
    last = watch.of(AttemptProgress)[-1]
    assert (last.percent, last.status) == (100, "warming up")
    assert watch.kinds(attempt)[0] == "started"
    assert watch.kinds(attempt)[-1] == "exited"


def test_progress_a_thousand_times_is_reported_a_few_times_and_the_last_one_always(watch: Watch) -> None:
    code = "for n in range(10001): print(f'openjd_progress: {n / 100}', flush=True)"
    run(watch, python("chatty", code))
    percents = [report.percent for report in watch.of(AttemptProgress)]
    assert percents[-1] == 100
    assert percents == sorted(percents)
    assert len(percents) < 101


def test_partial_results_are_reported_with_absolute_paths(farm: LocalFarm, watch: Watch) -> None:
    said = json.dumps({"path": "coarse.png", "quality": 25})
    attempt = shell("partial", f"echo 'milepost_partial: {said}'")
    run(watch, attempt)
    work = farm.data_dir / "attempts" / attempt.attempt_id / "work"
    assert watch.of(AttemptPartial) == [
        AttemptPartial(attempt_id=attempt.attempt_id, path=str(work / "coarse.png"), quality=25)
    ]


def test_checkpoints_are_measured_and_hashed_where_they_lie(farm: LocalFarm, watch: Watch) -> None:
    script = """head -c 3000000 /dev/zero > "$MILEPOST_CHECKPOINT_DIR/first"
    echo 'milepost_checkpoint: {"path": "first", "progress": 40}'
    printf abc > second
    echo 'milepost_checkpoint: {"path": "second", "progress": 80}'"""
    attempt = shell("saving", script)
    assert run(watch, attempt).failure is None
    first, second = watch.of(AttemptCheckpoint)
    folder = farm.data_dir / "jobs/saving/checkpoints/0"
    assert (first.number, first.path, first.progress, first.size_bytes) == (1, str(folder / "first"), 40, 3_000_000)
    assert first.sha256 == hashlib.sha256(bytes(3_000_000)).hexdigest()
    assert (second.number, second.progress, second.size_bytes) == (2, 80, 3)
    assert second.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert watch.kinds(attempt)[-1] == "exited"


def test_a_flood_of_announced_files_is_bounded_and_ends_with_the_last_ones(farm: LocalFarm, watch: Watch) -> None:
    code = """text = 'milepost_partial: {"path": "%d", "quality": 1}'
print('\\n'.join(text % n for n in range(20_000)))"""
    attempt = python("paths", code)
    assert run(watch, attempt).failure is None
    reported = [Path(report.path).name for report in watch.of(AttemptPartial)]
    assert reported[-1] == "19999"
    assert len(reported) < 10_000


def test_what_cannot_be_a_checkpoint_is_ignored_with_a_note(farm: LocalFarm, watch: Watch) -> None:
    script = """mkfifo pipe; mkdir folder
    for path in pipe folder missing; do echo "milepost_checkpoint: {\\"path\\": \\"$path\\"}"; done"""
    attempt = shell("odd", script)
    assert run(watch, attempt).failure is None
    assert watch.of(AttemptCheckpoint) == []
    assert printed(farm, attempt).count("milepost: ignored the checkpoint") == 3


def test_malformed_messages_are_ignored_with_one_note(farm: LocalFarm, watch: Watch) -> None:
    script = """echo openjd_progress: many; echo openjd_progress: 101; echo 'milepost_partial: {"path": 1}'
    echo openjd_progress:50; echo ' openjd_progress: 60'; echo openjd_env: A=B; echo openjd_progress: 70"""
    attempt = shell("garbled", script)
    assert run(watch, attempt).failure is None
    assert [report.percent for report in watch.of(AttemptProgress)] == [70]
    assert printed(farm, attempt).count("milepost: ") == 1


def test_a_flood_of_output_is_kept_whole_and_disturbs_nobody(farm: LocalFarm, watch: Watch) -> None:
    flood = python(
        "flood", "import sys\nfor n in range(200): sys.stdout.write('x' * 99_999 + '\\n')\nprint('openjd_progress: 9')"
    )
    watch.executor.start([flood, other := launch("other", "true")])
    assert watch.end(other).failure is None
    assert watch.end(flood).failure is None
    assert read_output(farm.data_dir, flood.attempt_id).stat().st_size == 200 * 100_000 + len("openjd_progress: 9\n")
    assert watch.of(AttemptProgress)[-1].percent == 9


def test_a_format_is_run_by_its_runner(farm: LocalFarm, watch: Watch) -> None:
    pytest.importorskip("openjd.sessions")
    template = """
specificationVersion: jobtemplate-2023-09
name: Frames
steps:
- name: Frame
  script:
    actions:
      onRun: {command: sh, args: [-c, "echo openjd_progress: 40; echo openjd_fail: no paint; exit 3"]}
"""
    work = load_template(template, parameters={}, base_dir=farm.folder).jobs[0].work
    attempt = launch("format", work=work)
    end = run(watch, attempt)
    assert (end.failure, end.message) == (FailureClass.DECLARED, "no paint")
    assert watch.of(AttemptProgress)[-1].percent == 40


# -- the machine -------------------------------------------------------------------------------------------------------


def test_this_machine_is_divided_evenly() -> None:
    whole, halves = machine_nodes()[0], machine_nodes(2)
    assert whole.node_id == "node-1"
    assert whole.capacity.millicores <= 1000 * len(os.sched_getaffinity(0))
    assert [half.node_id for half in halves] == ["node-1", "node-2"]
    assert {half.capacity.memory_mib for half in halves} == {whole.capacity.memory_mib // 2}
    assert min(half.capacity.millicores for half in machine_nodes(1_000)) == 1_000
    assert whole.attributes["worker.os.family"] == ("linux",)


def test_a_node_that_answers_is_reported_with_what_it_has(farm: LocalFarm) -> None:
    fresh = LocalFarm(farm.folder / "fresh")
    watch = fresh.executor()
    up = watch.first(NodeUp)
    fresh.close()
    assert (up.capacity, up.attributes) == (NODES[0].capacity, NODES[0].attributes)
