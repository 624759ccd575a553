"""Workload traces in the Standard Workload Format: read as they are found, written as the standard says.

The format is version 2.2 of https://www.cs.huji.ac.il/labs/parallel/workload/swf.html: header lines `; Key: value`,
then one line of 18 numbers per job. Real files are messier; what is done about that is counted in the trace
(`Dropped`, `Adjusted`), and what cannot be a job line at all is refused with its line number. A file is read once, line
by line, within bounds, so neither a compressed bomb nor a file that is no trace takes more than a little memory.
"""

import gzip
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TextIO, TypeAlias

import msgspec

from application.simulation.workload import Adjusted, Dropped, Trace, TraceJob
from domain.errors import BadInput

Number: TypeAlias = int | float

FIELDS = (
    "job number", "submit time", "wait time", "run time", "allocated processors", "average CPU time", "used memory",
    "requested processors", "requested time", "requested memory", "status", "user", "group", "executable", "queue",
    "partition", "preceding job", "think time",
)  # fmt: skip
SUBMIT, RUN, ALLOCATED, CPU, REQUESTED, REQUESTED_TIME = 1, 3, 4, 5, 7, 8
MAY_HAVE_FRACTION = frozenset((SUBMIT, 2, RUN, CPU, 6, REQUESTED_TIME, 9, 17))
"""Times and memory, counted from 0; the standard allows fractions of a second, and logs have averages of memory."""

GZIP_MAGIC = b"\x1f\x8b"
MAX_LINE_BYTES = 65_536
"""Job lines are shorter than 200 bytes; some files add a list of nodes to each."""
MAX_LINES = 5_000_000
"""Four times the largest log of the Parallel Workloads Archive."""
MAX_HEADER_BYTES = 1_000_000
MAX_NUMBER = 2**53
MAX_SHOWN = 30
"""How many characters of something unreadable an error shows."""

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_HEADER = re.compile(r"([A-Za-z][\w-]*)\s*:(?!//)\s*(.*)$")
_LEADING_INTEGER = re.compile(r"[+-]?\d+")
_WRITTEN_ANEW = frozenset(("version", "maxjobs", "maxrecords", "maxprocs", "unixstarttime"))


class Overrun(StrEnum):
    """What becomes of a job whose run time exceeds its requested time."""

    EXTEND = "extend"
    """The request is raised to the run time."""
    KEEP = "keep"
    """Nothing: it runs on past its request."""
    KILL = "kill"
    """The run time is cut to the request."""


class Size(StrEnum):
    """Which number of processors counts; the other one is taken when it is not positive."""

    REQUESTED = "requested"
    """Field 8."""
    ALLOCATED = "allocated"
    """Field 5."""


class LoaderRules(msgspec.Struct, frozen=True):
    """How lines become jobs."""

    processors: int | None = None
    """Size of the machine; None takes the header's MaxProcs, or else its MaxNodes."""
    overrun: Overrun = Overrun.EXTEND
    size: Size = Size.REQUESTED


DEFAULT_RULES = LoaderRules()


def load_swf(path: Path, rules: LoaderRules = DEFAULT_RULES) -> Trace:
    """Read the trace in a file, plain or gzip as its content tells; BadInput names file, line and reason."""
    try:
        with path.open("rb") as file:
            return read_swf(file, rules, name=path.name)
    except OSError as error:
        raise BadInput(problem=f"{path.name}: {(error.strerror or str(error)).lower()}") from error


def read_swf(stream: io.BufferedReader, rules: LoaderRules = DEFAULT_RULES, *, name: str) -> Trace:
    """Read a trace from a stream, plain or gzip; `name` is what errors and the trace call it.

    Times are whole seconds: fractions are rounded to the nearest second, halves upwards. Of lines with the same job
    number the first that can run counts. A time or memory may have a fraction, all other fields are whole numbers;
    what follows the 18th field is not looked at.
    """
    reader = _Reader(name, rules)
    try:
        compressed = stream.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
        lines = io.BufferedReader(gzip.GzipFile(fileobj=stream)) if compressed else stream
        for line in _lines(lines, reader):
            reader.take(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise reader.refusal("what follows is damaged gzip data") from error
    return reader.trace()


def write_swf(
    trace: Trace, starts: Mapping[int, int], stream: TextIO, *, policies: str = "", tool: str = "Milepost"
) -> None:
    """Write a schedule: the trace with field 3 = start - submit of every job in `starts` (-1 for jobs that are not).

    `starts` is start second by job number. Fields 5 and 8 are the processors that the job got, field 9 the request as
    it was used; the source's header is kept as far as it is still true. Reading it again under the same rules gives
    equal jobs but for `wait_s`.
    """
    stream.writelines(f"; {line}".rstrip() + "\n" for line in _header_lines(trace, policies, tool))
    for job in trace.jobs:
        start_s = starts.get(job.number)
        stream.write(_line(job, -1 if start_s is None else start_s - job.submit_s))


def _lines(stream: io.BufferedIOBase, reader: "_Reader") -> Iterator[bytes]:
    """Lines within bounds, while the reader keeps count of them."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        reader.line += 1
        if len(line) > MAX_LINE_BYTES:
            raise reader.refusal(f"longer than {MAX_LINE_BYTES:,} bytes; this is no job line")
        if reader.line > MAX_LINES:
            raise reader.refusal(f"more than {MAX_LINES:,} lines")
        yield line


class _Reader:
    """What is known of a trace so far."""

    def __init__(self, name: str, rules: LoaderRules) -> None:
        self.line = 0
        """Of the line that was read last, counted from 1."""
        self._name = name
        self._rules = rules
        self._header: dict[str, list[str]] = {}
        self._header_bytes = 0
        self._key = ""
        self._processors: int | None = None
        self._jobs: dict[int, TraceJob] = {}
        self._dropped: Counter[str] = Counter()
        self._adjusted: Counter[str] = Counter()
        self._size_fields = (REQUESTED, ALLOCATED) if rules.size is Size.REQUESTED else (ALLOCATED, REQUESTED)

    def take(self, line: bytes) -> None:
        """Understand one line: blank, header or job."""
        words = line.split(None, len(FIELDS))
        if not words:
            return
        if words[0].startswith(b";"):
            self._take_header(line)
        else:
            more = len(words) > len(FIELDS)
            if more and b"\r" in words[-1].rstrip():
                raise self.refusal("a carriage return within the line; end lines with a newline")
            self._take_job(self._numbers(words[: len(FIELDS)], line), more=more)

    def trace(self) -> Trace:
        """All that was read; BadInput when there was no job line at all."""
        if self._processors is None:
            raise BadInput(problem=f"{self._name}: there is no job line in it")
        return Trace(
            jobs=tuple(sorted(self._jobs.values(), key=lambda job: (job.submit_s, job.number))),
            processors=self._processors,
            dropped=dict(sorted(self._dropped.items())),
            adjusted=dict(sorted(self._adjusted.items())),
            header={key: "\n".join(lines) for key, lines in self._header.items()},
            start_unix_s=max(0, self._header_number("UnixStartTime") or 0),
            name=self._name,
        )

    def refusal(self, problem: str) -> BadInput:
        """The error that names the file and the line."""
        return BadInput(problem=f"{self._name}, line {self.line}: {problem}")

    # The header.

    def _take_header(self, line: bytes) -> None:
        """`; Key: value`; a line without a key goes on with the value before it."""
        self._header_bytes += len(line)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise self.refusal(f"more than {MAX_HEADER_BYTES:,} bytes of header")
        text = line.decode(errors="replace").strip().lstrip(";").strip()
        found = _HEADER.match(text)
        if found:
            self._key, text = found.groups()
        if self._key and (found or text):
            self._header.setdefault(self._key, []).append(text)

    def _machine_size(self) -> int:
        given = self._rules.processors
        size = given if given is not None else self._header_number("MaxProcs") or self._header_number("MaxNodes")
        if size is None:
            problem = "no header line above the first job gives the size of the machine (MaxProcs or MaxNodes)"
            raise self.refusal(f"{problem}; say it with --procs")
        if size < 1:
            raise BadInput(problem=f"a machine of {size} processors can run no job; --procs must be 1 or more")
        return size

    def _header_number(self, key: str) -> int | None:
        """The integer at the beginning of a value, whatever text follows; None when it is not positive or missing."""
        for each, lines in self._header.items():
            found = _LEADING_INTEGER.match(lines[0]) if each.lower() == key.lower() else None
            if found and len(found.group()) < MAX_SHOWN and int(found.group()) > 0:
                return int(found.group())
        return None

    # A job line.

    def _numbers(self, words: list[bytes], line: bytes) -> list[Number]:
        """The 18 numbers of a line."""
        if len(words) < len(FIELDS):
            raise self.refusal(f"{len(words)} fields where a job line has {len(FIELDS)}: {_shown(line)}")
        numbers = None if b"_" in line else _plain_numbers(words)
        if numbers is None:
            numbers = [self._number(place, word) for place, word in enumerate(words)]
        if max(numbers) > MAX_NUMBER or min(numbers) < -MAX_NUMBER:
            raise self.refusal(f"a number is larger than {MAX_NUMBER:,}")
        return numbers

    def _number(self, place: int, word: bytes) -> Number:
        if not _NUMBER.fullmatch(word):
            raise self.refusal(f"field {place + 1} ({FIELDS[place]}) is not a number: {_shown(word)}")
        number = float(word)
        if number.is_integer():
            return int(number)
        if place not in MAY_HAVE_FRACTION and math.isfinite(number):
            raise self.refusal(f"field {place + 1} ({FIELDS[place]}) is not a whole number: {_shown(word)}")
        return number

    def _take_job(self, found: Sequence[Number], *, more: bool) -> None:
        """Keep a job that can run, and count everything else."""
        if self._processors is None:
            self._processors = self._machine_size()
        if found[0] < 0:
            raise self.refusal(f"field 1 ({FIELDS[0]}) is {found[0]}; ids are 0 or more")
        whole = [_rounded(number) for number in found]
        processors = next((whole[field] for field in self._size_fields if whole[field] > 0), 0)
        reason = self._drop_reason(whole, processors)
        if reason is not None:
            self._dropped[reason.value] += 1
            return
        if more:
            self._adjusted[Adjusted.TEXT_IGNORED.value] += 1
        if any(number != found[place] for place, number in enumerate(whole) if place != CPU):
            self._adjusted[Adjusted.ROUNDED.value] += 1
        if processors != whole[self._size_fields[0]]:
            self._adjusted[Adjusted.SIZE_FROM_OTHER.value] += 1
        run_s, requested_s = self._times(whole[RUN], whole[REQUESTED_TIME])
        self._jobs[whole[0]] = _job(whole, run_s, processors, requested_s, cpu_s=float(found[CPU]))

    def _drop_reason(self, whole: Sequence[int], processors: int) -> Dropped | None:
        if whole[0] in self._jobs:
            return Dropped.REPEATED_NUMBER
        if whole[SUBMIT] < 0:
            return Dropped.NEGATIVE_SUBMIT
        if whole[RUN] <= 0:
            return Dropped.NO_RUN_TIME
        if processors <= 0:
            return Dropped.NO_PROCESSORS
        return Dropped.TOO_LARGE if processors > (self._processors or 0) else None

    def _times(self, run_s: int, requested_s: int) -> tuple[int, int]:
        """Run time and requested time as they are to be used."""
        if requested_s <= 0:
            self._adjusted[Adjusted.REQUEST_FROM_RUN.value] += 1
            return run_s, run_s
        if run_s <= requested_s:
            return run_s, requested_s
        if self._rules.overrun is Overrun.EXTEND:
            self._adjusted[Adjusted.REQUEST_RAISED.value] += 1
            return run_s, run_s
        if self._rules.overrun is Overrun.KILL:
            self._adjusted[Adjusted.RUN_CUT.value] += 1
            return requested_s, requested_s
        self._adjusted[Adjusted.OVERRUN_KEPT.value] += 1
        return run_s, requested_s


def _plain_numbers(words: Sequence[bytes]) -> list[Number] | None:
    """The numbers of a line that has fractions in its CPU time at most, as nearly all have; None for any other.

    Takes a tenth of the time of `_number`, but would also take `1_000` for a number, as Python does.
    """
    try:
        numbers: list[Number] = [int(word) for word in words]
    except ValueError:
        try:
            numbers = [float(word) if place == CPU else int(word) for place, word in enumerate(words)]
        except ValueError:
            return None
    return numbers if math.isfinite(numbers[CPU]) else None


def _job(whole: Sequence[int], run_s: int, processors: int, requested_s: int, cpu_s: float) -> TraceJob:
    number, submit_s, wait_s, _, _, _, used_memory, _, _, memory, status, *who, preceding, think_s = whole
    user, group, executable, queue, partition = who
    return TraceJob(
        number, submit_s, run_s, processors, requested_s, user, group, queue, partition, memory,
        wait_s, cpu_s, used_memory, status, executable, preceding, think_s,
    )  # fmt: skip


def _line(job: TraceJob, wait_s: int) -> str:
    cpu_s = int(job.cpu_s) if job.cpu_s.is_integer() else job.cpu_s
    return (
        f"{job.number} {job.submit_s} {wait_s} {job.run_s} {job.processors} {cpu_s} "
        f"{job.used_memory_kib_per_processor} {job.processors} {job.requested_s} {job.memory_kib_per_processor} "
        f"{job.status} {job.user} {job.group} {job.executable} {job.queue} {job.partition} "
        f"{job.preceding} {job.think_s}\n"
    )


def _header_lines(trace: Trace, policies: str, tool: str) -> Iterator[str]:
    yield "Version: 2.2"
    for key, value in trace.header.items():
        if key.lower() not in _WRITTEN_ANEW:
            yield from (f"{key}: {line}" for line in value.split("\n"))
    yield f"MaxJobs: {len(trace.jobs)}"
    yield f"MaxRecords: {len(trace.jobs)}"
    yield f"MaxProcs: {trace.processors}"
    if trace.start_unix_s:
        yield f"UnixStartTime: {trace.start_unix_s}"
    yield f"Note: waits simulated by {tool}; input {trace.name or 'without a name'}"
    yield from (f"Note: policies {line}" for line in policies.splitlines())


def _rounded(number: Number) -> int:
    return math.floor(number + 0.5) if isinstance(number, float) else number


def _shown(content: bytes) -> str:
    text = content[: 4 * MAX_SHOWN].decode(errors="replace").strip()
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")
