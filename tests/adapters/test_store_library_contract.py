"""The contract test cases that ship with the `eventsourcing` package, run against our recorders, factory and mapper.

Text ids are ours; UUID ids, which the library uses by default, work as well. Left out, because they cannot apply:

- `TrackingRecorderTestCase` and `ProcessRecorderTestCase`: we have no such recorders. A projection keeps its position
  in the database of its read model, in one transaction with its rows; the factory hands out the library's own.
- `TranscoderTestCase`: msgspec encodes whole events; there is no transcoder that is asked about single types.
- `AggregateRecorderTestCase` as it stands: it expects `insert_events` to return None, as recorders without positions
  do. Ours are application recorders, whose `insert_events` returns positions. Everything else of the case is run.
- `optional_test_insert_subscribe` for SQLite: the library's SQLite recorders have no subscriptions. In memory it runs.
"""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    ProcessRecorder,
    StoredEvent,
    TrackingRecorder,
)
from eventsourcing.sqlite import SQLiteAggregateRecorder, SQLiteProcessRecorder, SQLiteTrackingRecorder
from eventsourcing.utils import Environment, get_topic

from adapters.store.mapper import StructMapper
from adapters.store.memory import MemoryLogRecorder
from adapters.store.sqlite import SQLiteLogFactory, SQLiteLogRecorder
from domain.job.events import JobHeld
from domain.messages import Meta, Recorded
from tests.builders import NOW

CIPHERS = "the library's cases try its ciphers: pip install 'eventsourcing[crypto]'"
library = pytest.importorskip("eventsourcing.tests.persistence", reason=CIPHERS, exc_type=ImportError)
AESCipher = pytest.importorskip("eventsourcing.cipher", reason=CIPHERS, exc_type=ImportError).AESCipher


class InMemory:
    """Recorders that live as long as a test."""

    def create_recorder(self) -> Any:
        return MemoryLogRecorder()


class InFile:
    """Recorders over a file in the folder of a test."""

    ID_TYPE = "text"
    tmp_path: Path
    made: "list[SQLiteLogFactory]"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Any:
        self.tmp_path, self.made = tmp_path, []
        yield
        for factory in self.made:
            factory.close()

    def create_recorder(self) -> Any:
        factory = SQLiteLogFactory({"SQLITE_DBNAME": str(self.tmp_path / "log.db"), "ORIGINATOR_ID_TYPE": self.ID_TYPE})
        self.made.append(factory)
        return factory.application_recorder()


class WithTextIds:
    """Ids as ours: readable strings."""

    def new_originator_id(self) -> UUID | str:
        return f"job-{uuid4()}"


class WithUuids(InFile):
    """Ids as the library's."""

    ID_TYPE = "uuid"


class PositionsAside:
    """What an aggregate recorder does, of a recorder that also returns positions."""

    def create_recorder(self) -> Any:
        recorder = super().create_recorder()  # type: ignore[misc]
        insert = recorder.insert_events

        def insert_without_positions(stored_events: Any, **kwargs: Any) -> None:
            assert len(insert(stored_events, **kwargs)) == len(stored_events)

        recorder.insert_events = insert_without_positions
        return recorder


# -- streams ---------------------------------------------------------------------------------------------------------


class TestStreamsInMemory(WithTextIds, PositionsAside, InMemory, library.AggregateRecorderTestCase): ...


class TestStreamsInMemoryFromZero(TestStreamsInMemory):
    INITIAL_VERSION = 0


class TestStreamsInFile(WithTextIds, PositionsAside, InFile, library.AggregateRecorderTestCase): ...


class TestStreamsInFileFromZero(TestStreamsInFile):
    INITIAL_VERSION = 0


class TestStreamsInFileByUuid(PositionsAside, WithUuids, library.AggregateRecorderTestCase): ...


# -- positions -------------------------------------------------------------------------------------------------------


class TestPositionsInMemory(WithTextIds, InMemory, library.ApplicationRecorderTestCase):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestPositionsInMemoryByUuid(InMemory, library.ApplicationRecorderTestCase): ...


class TestPositionsInFile(WithTextIds, InFile, library.ApplicationRecorderTestCase): ...


class TestPositionsInFileByUuid(WithUuids, library.ApplicationRecorderTestCase): ...


class TestPositionsInMemoryDoNotInterleave(WithTextIds, InMemory, library.NonInterleavingNotificationIDsBaseCase): ...


class TestPositionsInFileDoNotInterleave(WithTextIds, InFile, library.NonInterleavingNotificationIDsBaseCase): ...


# -- the factory -----------------------------------------------------------------------------------------------------


class OwnTrackingRecorder(SQLiteTrackingRecorder):
    """A subclass to be asked for."""


class TestFactory(library.InfrastructureFactoryTestCase[SQLiteLogFactory]):
    tmp_path: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path

    def setUp(self) -> None:
        self.env = Environment("Milepost")
        self.env[InfrastructureFactory.PERSISTENCE_MODULE] = get_topic(SQLiteLogFactory)
        self.env["SQLITE_DBNAME"] = str(self.tmp_path / "log.db")
        self.env["ORIGINATOR_ID_TYPE"] = "text"
        super().setUp()

    def expected_factory_class(self) -> type[SQLiteLogFactory]:
        return SQLiteLogFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return SQLiteAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return SQLiteLogRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return SQLiteTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return OwnTrackingRecorder

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return SQLiteProcessRecorder

    def test_the_mapper_is_ours(self) -> None:
        mapper: Mapper[Any] = self.factory.mapper()
        assert type(mapper) is StructMapper

    def test_mapper_with_wrong_cipher_key(self) -> None:
        """As in the library's case, with an event of ours: the library's has no topic in our catalog."""
        self.env.name = "App1"
        self.env[self.factory.COMPRESSOR_TOPIC] = get_topic(ZlibCompressor)
        self.env[self.factory.CIPHER_TOPIC] = get_topic(AESCipher)
        self.env["APP1_" + AESCipher.CIPHER_KEY] = AESCipher.create_key(16)
        self.env["APP2_" + AESCipher.CIPHER_KEY] = AESCipher.create_key(16)
        mapper: Any = self.factory.mapper(transcoder=self.transcoder)
        recorded = Recorded(0, "job-1", 1, JobHeld(at_ms=NOW, job_id="job-1"), Meta("user:ada"))
        stored: StoredEvent = mapper.to_stored_event(recorded)
        assert mapper.to_domain_event(stored) == recorded
        self.env.name = "App2"
        with pytest.raises(ValueError, match=r"."):
            self.factory.mapper(transcoder=self.transcoder).to_domain_event(stored)
