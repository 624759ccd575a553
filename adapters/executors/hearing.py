"""Listens to what an attempt prints: keeps every byte in `output.log`, understands the process contract, reports.

Programs may print their progress a thousand times a second, so reports are gathered: at most one round of them every
`NOTICE_EVERY_S`, in it the last progress and, for each path, the last partial result and the last checkpoint.
"""

import logging
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from adapters.executors.attempt_files import AttemptFiles, encode_line
from adapters.executors.background import Background
from adapters.executors.files import write_all
from adapters.executors.process_lines import (
    ContractLines,
    Malformed,
    Said,
    SaidCheckpoint,
    SaidFail,
    SaidPartial,
    SaidProgress,
    SaidStatus,
)
from adapters.executors.seals import Seal, seal
from adapters.executors.timers import Timers
from application.ports import AttemptCheckpoint, AttemptPartial, AttemptProgress, AttemptReport

NOTICE_EVERY_S = 0.1
MAX_PATHS = 256
"""How many files can be announced in one round."""
MAX_NOTES = 64
PROGRESS_ON_FILE_EVERY_S = 5.0
"""Progress matters only until the next one; a run of weeks must not fill a disk with it."""

logger = logging.getLogger(__name__)


class Hearing:
    """The output of one attempt, from its pipe to its files and reports."""

    def __init__(
        self,
        files: AttemptFiles,
        folders: tuple[Path, Path],
        timers: Timers,
        readers: Background,
        tell: Callable[[AttemptReport], None],
        quiet: Callable[[], None],
    ) -> None:
        """`folders` are where relative paths are looked for; `quiet` is called when the last checkpoint was read."""
        self.declared_failure = ""
        """What the attempt said with `openjd_fail`."""
        self._files, self._folders, self._timers, self._readers = files, folders, timers, readers
        self._tell, self._quiet = tell, quiet
        self._lines = ContractLines()
        self._log = os.open(files.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._at_line_start = True
        self._noted: set[str] = set()
        self._progress = AttemptProgress(attempt_id=files.attempt_id, percent=0)
        self._progress_told = self._progress_filed = self._progress
        self._partials: dict[str, int] = {}
        self._costs_ms: dict[str, int] = {}
        """What the partial results not told yet took to make, those of the same path that were overtaken included."""
        self._checkpoints: dict[str, int] = {}
        self._checkpoint_count = 0
        self._unread: deque[tuple[Path, int]] = deque()
        """Checkpoints to be read, with their progress; the first one is being read."""
        self._next_notice_s = self._next_filing_s = float("-inf")
        self._notice_due = False

    @property
    def is_busy(self) -> bool:
        """Whether announced checkpoints are still being read."""
        return bool(self._unread)

    @property
    def progress(self) -> AttemptProgress | None:
        """The last progress that was reported, None before the first."""
        never = AttemptProgress(attempt_id=self._files.attempt_id, percent=0)
        return None if self._progress_told == never else self._progress_told

    def hear(self, piece: bytes) -> None:
        """Take in what was printed."""
        self._keep(piece)
        for said in self._lines.feed(piece):
            self._understand(said)
        self._notice()

    def end(self) -> None:
        """Nothing more will be printed: report what was held back and close the log."""
        for said in self._lines.end():
            self._understand(said)
        self._report()
        if self._progress_filed != self._progress_told:
            self._file(self._progress_told)

    def close(self) -> None:
        """Let go of the log; after this nothing can be heard or noted."""
        os.close(self._log)

    def note(self, kind: str, text: str) -> None:
        """Write a line of our own into the log, once for each kind of trouble."""
        if kind not in self._noted and len(self._noted) < MAX_NOTES:
            self._noted.add(kind)
            start = "" if self._at_line_start else "\n"
            self._keep(f"{start}milepost: {text}\n".encode())

    def _keep(self, piece: bytes) -> None:
        try:
            write_all(self._log, piece)
        except OSError as error:
            # A full disk must not end the attempt; its end will be recorded when there is room.
            if "output" not in self._noted:
                self._noted.add("output")
                logger.warning("output of %s is being lost: %s", self._files.attempt_id, error)
            return
        self._at_line_start = piece.endswith(b"\n") if piece else self._at_line_start

    def _understand(self, said: Said) -> None:
        match said:
            case SaidProgress():
                self._progress = replace(self._progress, percent=said.percent)
            case SaidStatus():
                self._progress = replace(self._progress, status=said.text)
            case SaidFail():
                self.declared_failure = said.text
            case SaidPartial():
                self._remember(self._partials, said.path, int(said.quality))
                self._costs_ms[said.path] = self._costs_ms.get(said.path, 0) + round(said.seconds * 1_000)
            case SaidCheckpoint():
                self._remember(self._checkpoints, said.path, int(said.progress))
            case Malformed():
                self.note("malformed", f"ignored a malformed message: {said.problem}")

    def _remember(self, notices: dict[str, int], path: str, percent: int) -> None:
        notices.pop(path, None)
        notices[path] = percent
        if len(notices) > MAX_PATHS:
            self.note("flood", f"announced more than {MAX_PATHS} files at once; the first ones are ignored")
            del notices[next(iter(notices))]

    def _notice(self) -> None:
        """Report now, or soon when the last report was just now."""
        if self._notice_due or not self._has_news():
            return
        delay_s = self._next_notice_s - self._timers.now_s()
        if delay_s <= 0:
            self._report()
        else:
            self._notice_due = True
            self._timers.after(delay_s, self._report)

    def _has_news(self) -> bool:
        return bool(self._partials or self._checkpoints) or self._progress != self._progress_told

    def _report(self) -> None:
        now_s = self._timers.now_s()
        self._notice_due = False
        self._next_notice_s = now_s + NOTICE_EVERY_S
        if self._progress != self._progress_told:
            self._progress_told = self._progress
            self._tell(self._progress)
            if now_s >= self._next_filing_s:
                self._next_filing_s = now_s + PROGRESS_ON_FILE_EVERY_S
                self._file(self._progress)
                self._progress_filed = self._progress
        partials, self._partials = self._partials, {}
        for path, quality in partials.items():
            cost_ms, found = self._costs_ms.pop(path, 0), self._find(path)
            report = AttemptPartial(attempt_id=self._files.attempt_id, path=found, quality=quality, cost_ms=cost_ms)
            self._file_and_tell(report)
        checkpoints, self._checkpoints = self._checkpoints, {}
        for path, percent in checkpoints.items():
            self._unread.append((Path(self._find(path)), percent))
            if len(self._unread) == 1:
                self._read_next()

    def _find(self, path: str) -> str:
        """The absolute path: relative ones mean the working directory, or else the checkpoint directory."""
        work, checkpoints = self._folders
        found = work / path
        return str(found if _is_there(found) or not _is_there(checkpoints / path) else checkpoints / path)

    def _read_next(self) -> None:
        path, percent = self._unread[0]

        def done(result: Seal | str | OSError) -> None:
            if isinstance(result, Seal):
                self._checkpoint(path, percent, result)
            else:
                self.note(f"checkpoint {path}", f"ignored the checkpoint {path}: {result}")
            self._unread.popleft()
            if self._unread:
                self._read_next()
            else:
                self._quiet()

        self._readers.do(partial(seal, path), done)

    def _checkpoint(self, path: Path, percent: int, seal: Seal) -> None:
        self._checkpoint_count += 1
        report = AttemptCheckpoint(
            attempt_id=self._files.attempt_id,
            number=self._checkpoint_count,
            path=str(path),
            progress=percent,
            size_bytes=seal.size_bytes,
            sha256=seal.sha256,
        )
        self._file_and_tell(report)

    def _file_and_tell(self, report: AttemptReport) -> None:
        self._file(report)
        self._tell(report)

    def _file(self, report: AttemptReport) -> None:
        try:
            with self._files.reports.open("ab", buffering=0) as file:
                file.write(encode_line(report))
        except OSError as error:
            self.note("reports", f"could not keep a report: {error.strerror}")


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
