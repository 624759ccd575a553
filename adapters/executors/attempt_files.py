"""The files of one attempt: the truth about it, whoever lives or dies.

Making the folder is the claim: it succeeds once, and whoever makes it decides whether the attempt runs. The end is
written once as well, before anybody hears of it; so the first end that was recorded is the end. Only claim and end
survive a power cut for certain; what else may be torn by one reads as if it were not there.
"""

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from adapters.executors.files import read_if_there, write_once, write_whole
from application.ports import AttemptExited, AttemptProgress, AttemptReport, AttemptStarted, Launch
from domain.messages import Value


class StartRecord(Value, frozen=True):
    """The first process of an attempt."""

    pid: int
    start_ticks: int
    """When the process started, in clock ticks since the machine did."""
    boot_id: str
    """Which start of the machine that was."""
    at_ms: int


T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_launch = msgspec.json.Decoder(Launch)
_start = msgspec.json.Decoder(StartRecord)
_exited = msgspec.json.Decoder(AttemptExited)
_reports: msgspec.json.Decoder[AttemptReport] = msgspec.json.Decoder(AttemptReport)


class AttemptFiles:
    """Reads and writes the folder of one attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.attempt_id = folder.name
        self.launch = folder / "launch.json"
        self.output = folder / "output.log"
        self.reports = folder / "reports.jsonl"
        self.work = folder / "work"
        self._start = folder / "start.json"
        self._end = folder / "end.json"

    def take(self) -> bool:
        """Make the folder; False if somebody was faster."""
        try:
            self.folder.mkdir()
        except FileExistsError:
            return False
        return True

    def claim(self, launch: Launch) -> bool:
        """Take the attempt; False if that was done before. Survives a power cut once the parent folder is synced."""
        taken = self.take()
        if taken:
            write_whole(self.launch, _encoder.encode(launch), durable=False)
        return taken

    def claim_void(self, end: AttemptExited) -> bool:
        """Take the attempt so that it never runs; False if it was taken before."""
        taken = self.take()
        if taken:
            self.write_end(end)
        return taken

    def is_claimed(self) -> bool:
        """Whether somebody took the attempt."""
        return self.folder.is_dir()

    def write_start(self, record: StartRecord) -> None:
        """Remember the first process; needless after a power cut, so it is not synced."""
        write_whole(self._start, _encoder.encode(record), durable=False)

    def read_start(self) -> StartRecord | None:
        """The first process, None if none was started."""
        return _read(self._start, _start)

    def read_launch(self) -> Launch | None:
        """What was to be run, None for an attempt that was taken in order not to run."""
        return _read(self.launch, _launch)

    def write_end(self, end: AttemptExited) -> bool:
        """Record the end durably; False, changing nothing, if one is recorded already."""
        return write_once(self._end, _encoder.encode(end))

    def read_end(self) -> AttemptExited | None:
        """The recorded end, None if there is none yet."""
        return _read(self._end, _exited)

    def replay(self) -> list[AttemptReport]:
        """All that was ever reported of this attempt, in order; of its progress only the last word."""
        start, end = self.read_start(), self.read_end()
        told: list[AttemptReport] = []
        if start is not None:
            told.append(AttemptStarted(attempt_id=self.attempt_id, at_ms=start.at_ms, pid=start.pid))
        told += _latest_progress(self._read_reports())
        if end is not None:
            told.append(end)
        return told

    def _read_reports(self) -> list[AttemptReport]:
        reports = []
        for line in (read_if_there(self.reports) or b"").split(b"\n"):
            with suppress(msgspec.DecodeError):  # cut off by a crash, and never reported
                reports.append(_reports.decode(line))
        return reports


def _read(path: Path, decoder: msgspec.json.Decoder[T]) -> T | None:
    try:
        return decoder.decode(read_if_there(path) or b"")
    except msgspec.DecodeError:
        return None


def encode_line(report: AttemptReport) -> bytes:
    """A report as a line of `reports.jsonl`."""
    return _encoder.encode(report) + b"\n"


def _latest_progress(reports: list[AttemptReport]) -> list[AttemptReport]:
    progress = [report for report in reports if isinstance(report, AttemptProgress)]
    others = [report for report in reports if not isinstance(report, AttemptProgress)]
    return [*others, *progress[-1:]]
