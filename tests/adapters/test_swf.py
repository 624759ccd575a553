"""Traces in the Standard Workload Format: every mess that real files hold, refusals, and files written by us."""

import gzip
import io
import os
from pathlib import Path

import pytest

from adapters.importers.swf import (
    DEFAULT_RULES,
    MAX_HEADER_BYTES,
    MAX_LINE_BYTES,
    LoaderRules,
    Overrun,
    Size,
    load_swf,
    read_swf,
    write_swf,
)
from application.simulation.metrics import Completed, metrics
from application.simulation.workload import Trace, TraceJob
from domain.errors import BadInput

DATA = Path(os.environ.get("MILEPOST_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "swf"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared traces are not here")

HEADER = "; Version: 2.2\n; MaxNodes: 10\n; MaxProcs: 16 (two racks)\n; UnixStartTime: 843480031\n;\n"


def line(number: int | str = 1, **fields: object) -> str:
    """One job line; every field not given has a usual value."""
    values = {
        "submit": 0, "wait": -1, "run": 100, "allocated": 4, "cpu": -1, "used": -1, "requested": 4, "time": 200,
        "memory": -1, "status": 1, "user": -1, "group": -1, "executable": -1, "queue": -1, "partition": -1,
        "preceding": -1, "think": -1,
    } | fields  # fmt: skip
    return " ".join(str(value) for value in (number, *values.values())) + "\n"


def read(text: str | bytes, rules: LoaderRules = DEFAULT_RULES) -> Trace:
    content = text if isinstance(text, bytes) else text.encode()
    return read_swf(io.BufferedReader(io.BytesIO(content)), rules, name="t.swf")


def jobs(*lines: str, rules: LoaderRules = DEFAULT_RULES) -> list[TraceJob]:
    return list(read(HEADER + "".join(lines), rules).jobs)


def job(**fields: object) -> TraceJob:
    return jobs(line(**fields))[0]


def dropped(**fields: object) -> dict[str, int]:
    trace = read(HEADER + line(**fields))
    assert trace.jobs == ()
    return trace.dropped


def problem(text: str | bytes, rules: LoaderRules = DEFAULT_RULES) -> str:
    with pytest.raises(BadInput) as caught:
        read(text, rules)
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix("the input cannot be read: ")


def written(trace: Trace, starts: dict[int, int], policies: str = "") -> str:
    stream = io.StringIO()
    write_swf(trace, starts, stream, policies=policies, tool="Milepost 0")
    return stream.getvalue()


# What lines become.


def test_a_line_is_a_job_with_all_its_fields() -> None:
    text = "7 30 5 100 4 99.5 2048 6 200 4096 1 11 12 13 14 15 3 60"
    assert jobs(text) == [
        TraceJob(
            number=7, submit_s=30, run_s=100, processors=6, requested_s=200, user=11, group=12, queue=14, partition=15,
            memory_kib_per_processor=4096, wait_s=5, cpu_s=99.5, used_memory_kib_per_processor=2048, status=1,
            executable=13, preceding=3, think_s=60,
        )
    ]  # fmt: skip


def test_requested_processors_count_and_allocated_ones_stand_in() -> None:
    assert job(allocated=8, requested=4).processors == 4
    assert job(allocated=8, requested=-1).processors == 8
    assert job(allocated=8, requested=0).processors == 8
    assert job(allocated=-1, requested=4).processors == 4
    assert read(HEADER + line(requested=-1)).adjusted == {"size-from-other": 1}
    assert jobs(line(allocated=8, requested=4), rules=LoaderRules(size=Size.ALLOCATED))[0].processors == 8
    assert jobs(line(allocated=-1, requested=4), rules=LoaderRules(size=Size.ALLOCATED))[0].processors == 4


def test_what_cannot_run_is_dropped_and_counted_by_reason() -> None:
    assert dropped(run=0) == dropped(run=-1) == {"no-run-time": 1}
    assert dropped(allocated=-1, requested=-1) == dropped(allocated=0, requested=0) == {"no-processors": 1}
    assert dropped(submit=-1) == {"negative-submit": 1}
    assert dropped(requested=17) == {"too-large": 1}
    assert job(requested=16).processors == 16


def test_of_several_reasons_the_first_counts() -> None:
    assert dropped(submit=-5, run=0, requested=99) == {"negative-submit": 1}
    assert dropped(run=0, requested=99) == {"no-run-time": 1}


def test_a_number_that_comes_again_is_dropped_unless_the_first_was() -> None:
    trace = read(HEADER + line(1, run=0) + line(1, run=50) + line(1, run=60) + line(2))
    assert [(job.number, job.run_s) for job in trace.jobs] == [(1, 50), (2, 100)]
    assert trace.dropped == {"no-run-time": 1, "repeated-number": 1}


def test_a_missing_request_is_the_run_time() -> None:
    assert job(time=-1).requested_s == job(time=0).requested_s == 100
    assert read(HEADER + line(time=-1)).adjusted == {"request-from-run": 1}


@pytest.mark.parametrize(
    ("overrun", "times", "adjusted"),
    [
        (Overrun.EXTEND, (100, 100), "request-raised"),
        (Overrun.KEEP, (100, 60), "overrun-kept"),
        (Overrun.KILL, (60, 60), "run-cut"),
    ],
)
def test_a_run_time_above_the_request(overrun: Overrun, times: tuple[int, int], adjusted: str) -> None:
    trace = read(HEADER + line(time=60), LoaderRules(overrun=overrun))
    assert (trace.jobs[0].run_s, trace.jobs[0].requested_s) == times
    assert trace.adjusted == {adjusted: 1}
    missing = read(HEADER + line(time=-1), LoaderRules(overrun=overrun)).jobs[0]
    assert (missing.run_s, missing.requested_s) == (100, 100)


def test_fractions_of_times_are_rounded_with_halves_upwards() -> None:
    found = job(submit="10.5", run="99.4", time="200.50", cpu="489.00")
    assert (found.submit_s, found.run_s, found.requested_s, found.cpu_s) == (11, 99, 201, 489.0)
    assert read(HEADER + line(submit="10.5", memory="7.2")).adjusted == {"rounded": 1}
    assert read(HEADER + line(cpu="99.25", run="100.0")).adjusted == {}
    assert dropped(run="0.4") == {"no-run-time": 1}
    assert job(run="1e2").run_s == 100


def test_jobs_are_sorted_by_submission_and_then_by_number() -> None:
    found = jobs(line(9, submit=5), line(12, submit=0), line(3, submit=5), line(10, submit=5))
    assert [job.number for job in found] == [12, 3, 9, 10]


def test_what_stands_behind_the_last_field_is_ignored_and_counted() -> None:
    trace = read(HEADER + line().rstrip() + " {1241,1241} q_2w 1:ppn=12\n" + line(2))
    assert [job.number for job in trace.jobs] == [1, 2]
    assert trace.adjusted == {"text-ignored": 1}


def test_blank_lines_windows_line_ends_tabs_and_a_missing_last_newline() -> None:
    text = (HEADER + "\n   \n" + line(1).replace(" ", "\t  ") + "\n" + line(2, submit=3)).replace("\n", "\r\n")
    trace = read(text.rstrip())
    assert [(job.number, job.submit_s, job.think_s) for job in trace.jobs] == [(1, 0, -1), (2, 3, -1)]
    assert trace.processors == 16
    assert trace.header["Version"] == "2.2"


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    plain = tmp_path / "t.swf.gz"
    packed = tmp_path / "t.swf"
    plain.write_text(HEADER + line())
    packed.write_bytes(gzip.compress((HEADER + line()).encode()))
    assert load_swf(plain).jobs == load_swf(packed).jobs == (job(),)
    assert load_swf(packed).name == "t.swf"


# The header and the size of the machine.


def test_the_header_is_kept_with_its_repeated_and_continued_lines() -> None:
    text = (
        "; Computer: IBM SP2\n;Information: http://a\n;              http://b\n; Queue:  0  interactive  \n"
        "; Queue:  1  batch\n; Note:\n;     user=50 and (job>=2) (1 job removed)\n; MaxProcs: 8\n"
    )
    assert read(text + line()).header == {
        "Computer": "IBM SP2", "Information": "http://a\nhttp://b", "Queue": "0  interactive\n1  batch",
        "Note": "\nuser=50 and (job>=2) (1 job removed)", "MaxProcs": "8",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("header", "rules", "processors"),
    [
        ("; MaxProcs: 100 (some text)\n; MaxNodes: 50\n", LoaderRules(), 100),
        ("; MaxNodes: 50 and more\n", LoaderRules(), 50),
        ("; MaxNodes: 50\n; MaxProcs: -1\n", LoaderRules(), 50),
        ("; MaxNodes: 50\n; MaxProcs: unknown\n", LoaderRules(), 50),
        (";maxprocs:40\n", LoaderRules(), 40),
        ("; MaxProcs: 100\n", LoaderRules(processors=7), 7),
        ("", LoaderRules(processors=7), 7),
    ],
)
def test_the_machine_is_as_large_as_said_or_as_the_header_says(
    header: str, rules: LoaderRules, processors: int
) -> None:
    assert read(header + line(), rules).processors == processors


def test_the_start_is_known_when_the_header_knows_it() -> None:
    assert read(HEADER + line()).start_unix_s == 843480031
    assert read("; MaxProcs: 4\n; UnixStartTime: -1\n" + line()).start_unix_s == 0


def test_a_machine_of_unknown_size_is_refused_with_what_helps() -> None:
    assert problem("; Computer: X\n" + line()) == (
        "t.swf, line 2: no header line above the first job gives the size of the machine (MaxProcs or MaxNodes); "
        "say it with --procs"
    )
    assert "--procs must be 1 or more" in problem(line(), LoaderRules(processors=0))


# Refusals.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3\n", "line 1: 3 fields where a job line has 18: '1 2 3'"),
        (HEADER + line() + "\n" + line(run="ten"), "line 8: field 4 (run time) is not a number: 'ten'"),
        (line(run="nan"), "line 1: field 4 (run time) is not a number: 'nan'"),
        (line(cpu="inf"), "line 1: field 6 (average CPU time) is not a number: 'inf'"),
        (line(run="1_000"), "line 1: field 4 (run time) is not a number: '1_000'"),
        (line(user="1.5"), "line 1: field 12 (user) is not a whole number: '1.5'"),
        (line(run=2**60), "line 1: a number is larger than 9,007,199,254,740,992"),
        (line(run="1e400"), "line 1: a number is larger than 9,007,199,254,740,992"),
        (line(user="9" * 5000), "line 1: a number is larger than 9,007,199,254,740,992"),
        (line(1).replace("\n", "\r") * 3, "line 1: a carriage return within the line; end lines with a newline"),
        (line(-1), "line 1: field 1 (job number) is -1; ids are 0 or more"),
        ("id,submit,run\n1,2,3\n", "line 1: 1 fields where a job line has 18: 'id,submit,run'"),
        ("1 " * (MAX_LINE_BYTES // 2 + 1), "line 1: longer than 65,536 bytes; this is no job line"),
        ("; a: b\n" * (MAX_HEADER_BYTES // 7 + 1), "line 142858: more than 1,000,000 bytes of header"),
    ],
)
def test_what_is_no_job_line_is_refused_by_line_and_field(text: str, reason: str) -> None:
    assert problem(text, LoaderRules(processors=16)) == f"t.swf, {reason}"


def test_files_that_are_no_traces_are_refused_in_one_line() -> None:
    assert problem("") == "t.swf: there is no job line in it"
    assert problem(HEADER) == "t.swf: there is no job line in it"
    assert "line 1" in problem(bytes(range(256)) * 10)
    assert "line 1: longer than" in problem(b"\0" * 1_000_000)


def test_damaged_and_hostile_gzip_is_refused() -> None:
    packed = gzip.compress((HEADER + "".join(line(number) for number in range(1000))).encode())
    assert "what follows is damaged gzip data" in problem(packed[: len(packed) // 2])
    assert "what follows is damaged gzip data" in problem(packed[:100] + b"\xff" * 20 + packed[120:])
    assert "what follows is damaged gzip data" in problem(packed[:5])
    assert "line 1: longer than" in problem(gzip.compress(b" " * 50_000_000))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.swf: no such file"):
        load_swf(tmp_path / "none.swf")
    with pytest.raises(BadInput, match="is a directory"):
        load_swf(tmp_path)


# Writing.


def test_a_schedule_is_written_with_its_waits_and_a_header() -> None:
    trace = read("; Computer: IBM SP2\n; Note: old\n" + HEADER + line(1, submit=10, cpu="3.25") + line(2, submit=20))
    assert written(trace, {1: 10, 2: 70}, "order fifo\nbackfill easy") == (
        "; Version: 2.2\n; Computer: IBM SP2\n; Note: old\n; MaxNodes: 10\n; MaxJobs: 2\n; MaxRecords: 2\n"
        "; MaxProcs: 16\n; UnixStartTime: 843480031\n; Note: waits simulated by Milepost 0; input t.swf\n"
        "; Note: policies order fifo\n; Note: policies backfill easy\n"
        "1 10 0 100 4 3.25 -1 4 200 -1 1 -1 -1 -1 -1 -1 -1 -1\n"
        "2 20 50 100 4 -1 -1 4 200 -1 1 -1 -1 -1 -1 -1 -1 -1\n"
    )


def test_a_job_that_did_not_start_is_written_without_a_wait() -> None:
    assert written(read(HEADER + line(1, wait=7)), {}).splitlines()[-1].startswith("1 0 -1 100 ")


@pytest.mark.parametrize("overrun", Overrun)
def test_what_was_written_reads_as_the_same_jobs(overrun: Overrun) -> None:
    rules = LoaderRules(overrun=overrun)
    messy = line(5, wait=0, time=60, requested=-1) + line(2, submit=3, wait=0, cpu="0.00001", memory=9, user=3)
    trace = read(HEADER + messy + line(3, wait=0, time=-1, allocated=-1, preceding=2, think=4), rules)
    again = read(written(trace, {job.number: job.submit_s for job in trace.jobs}), rules)
    assert again.jobs == trace.jobs
    assert (again.processors, again.start_unix_s) == (trace.processors, trace.start_unix_s)
    assert again.dropped == {}


# The shared traces.

TRACES = {
    "ALCF-Mira-2018.swf.gz": (22_508, {}, 49_152),
    "ALCF-Theta-2023.swf.gz": (14_374, {}, 4_392),
    "ALCF-ThetaGPU-2023.swf.gz": (22_606, {}, 24),
    "KTH-SP2-1996-2-predictsim-input.swf.gz": (28_481, {}, 100),
    "KTH-SP2-1996-2-pyss-EASY-schedule.swf.gz": (28_481, {}, 100),
    "KTH-SP2-1996-2.1-cln.swf.gz": (28_476, {"no-processors": 1, "no-run-time": 8}, 100),
    "LANL-CM5-1994-4.1-cln.swf.gz": (122_060, {"no-processors": 3, "no-run-time": 2}, 1_024),
    "LCG.swf.gz": (188_041, {"no-run-time": 521}, 24_515),
    "LLNL-Atlas-2006-2.1-cln.swf.gz": (43_778, {"no-run-time": 7_178}, 9_216),
    "MetaCentrum-Zewura-Zegox-2013-alea.swf.gz": (17_900, {"no-run-time": 2}, 2_176),
    "NASA-iPSC-1993-3.1-cln.swf.gz": (18_239, {"no-run-time": 173}, 128),
    "lublin-aaroh.swf": (10_000, {}, 256),
}
"""Job lines, what of them is dropped, and the size of the machine."""
WITHOUT_HEADER = {"MetaCentrum-Zewura-Zegox-2013-alea.swf.gz": 2_176}


@needs_data
@pytest.mark.parametrize("name", TRACES)
def test_every_line_of_a_real_trace_is_a_job_or_counted(name: str) -> None:
    lines, reasons, processors = TRACES[name]
    trace = load_swf(DATA / name, LoaderRules(processors=WITHOUT_HEADER.get(name)))
    assert len(trace.jobs) + sum(trace.dropped.values()) == lines
    assert trace.dropped == reasons
    assert trace.processors == processors
    assert all(1 <= job.processors <= processors and 1 <= job.run_s <= job.requested_s for job in trace.jobs)
    order = [(job.submit_s, job.number) for job in trace.jobs]
    assert order == sorted(order)


@needs_data
def test_a_real_trace_reads_the_same_after_it_was_written() -> None:
    trace = load_swf(DATA / "LLNL-Atlas-2006-2.1-cln.swf.gz")
    waits = {job.number: job.submit_s + job.wait_s for job in trace.jobs}
    again = read(written(trace, waits))
    assert again.jobs == trace.jobs
    assert again.header["Acknowledge"] == "Moe Jette, LLNL"


@needs_data
def test_the_published_schedule_of_kth_measures_as_published() -> None:
    trace = load_swf(DATA / "KTH-SP2-1996-2-pyss-EASY-schedule.swf.gz")
    found = metrics(
        (
            Completed(
                number=job.number, submit_s=job.submit_s, start_s=job.submit_s + job.wait_s,
                end_s=job.submit_s + job.wait_s + job.run_s, processors=job.processors, requested_s=job.requested_s,
            )
            for job in trace.jobs
        ),
        trace.processors,
    )  # fmt: skip
    assert round(found.average_wait_s, 2) == 6_836.87
    assert round(found.average_bounded_slowdown, 3) == 92.577
    assert (found.jobs_delayed, found.makespan_s) == (13_219, 29_363_626)
