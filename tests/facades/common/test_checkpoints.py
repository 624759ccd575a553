"""Checkpoints (§8.1)."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from common import (
    BaseJob,
    CheckpointManager,
    CheckpointStatus,
    CheckpointType,
    MemoryCheckpointStorage,
    PeriodicFrequency,
    ProgressFrequency,
    YoungDalyFrequency,
)
from common.failure_resilience import FileCheckpointStorage
from common.failure_resilience.artefacts import sha256
from domain.checkpoint import CheckpointCorrupt, CheckpointDiscarded, CheckpointRestored, CheckpointTaken
from tests.facades.common.worlds import DAY, HOUR, DueJob, World


@pytest.fixture
def manager(world: World, tmp_path: Path) -> CheckpointManager:
    return CheckpointManager(tmp_path, app=world.app)


def test_k1_a_checkpoint_is_a_file_with_its_hash(world: World, tmp_path: Path, manager: CheckpointManager) -> None:
    job = world.due_job("j", progress=40.0, status="running")
    point = manager.create_checkpoint(job, metadata={"why": "now"}).unwrap()
    assert point.id.startswith("cp_j_")
    assert Path(point.path) == tmp_path / "j" / f"{point.id}.json"
    data = Path(point.path).read_bytes()
    assert (point.size_bytes, point.validation_hash) == (len(data), sha256(data))
    assert (point.status, point.metadata) == (
        CheckpointStatus.COMPLETE,
        {"why": "now", "progress": 40.0, "status": "running"},
    )
    assert {"checkpoint", "job_state"} <= set(json.loads(data))
    assert manager.checkpoints == {"j": {point.id: point}}
    assert job.last_checkpoint_time == world.now
    assert world.events(CheckpointTaken)[0].sha256 == point.validation_hash


def test_k1_ids_cannot_leave_the_directory(world: World, tmp_path: Path, manager: CheckpointManager) -> None:
    point = manager.create_checkpoint(world.job("../../up/and away")).unwrap()
    assert Path(point.path).resolve().is_relative_to(tmp_path)
    assert manager.restore_checkpoint(point.id)


def test_k1_a_job_may_be_named_if_the_application_knows_it(world: World, manager: CheckpointManager) -> None:
    assert "Checkpoint creation failed" in str(manager.create_checkpoint("?").error)
    manager.create_checkpoint(world.due_job("j", progress=10.0))
    again = manager.create_checkpoint("j").unwrap()
    restored = manager.restore_checkpoint(again.id).unwrap()
    assert (type(restored), restored.progress) == (DueJob, 10.0)


def test_k1_a_failure_enters_nothing(world: World) -> None:
    class Full(MemoryCheckpointStorage):
        def write(self, key: str, data: bytes) -> str:
            raise OSError("the disk is full")

    manager = CheckpointManager(storage=Full(), app=world.app)
    assert manager.create_checkpoint(world.job()).error == "Checkpoint creation failed: the disk is full"
    assert manager.checkpoints == {}
    assert manager.create_checkpoint(world.job(), "nonsense").error  # type: ignore[arg-type]


def test_k1_differences_build_on_what_is_there(world: World, manager: CheckpointManager) -> None:
    job = world.job("j", progress=10.0)
    first = manager.create_checkpoint(job, CheckpointType.DELTA).unwrap()
    assert first.checkpoint_type is CheckpointType.FULL
    restored = []
    for kind, progress in (
        (CheckpointType.INCREMENTAL, 20.0),
        (CheckpointType.INCREMENTAL, 30.0),
        (CheckpointType.DELTA, 40.0),
    ):
        world.passes(HOUR)
        job.progress = progress
        point = manager.create_checkpoint(job, kind).unwrap()
        assert point.checkpoint_type is kind
        assert set(json.loads(Path(point.path).read_bytes())["job_state"]) == {"progress"}
        restored.append(manager.restore_checkpoint(point.id).unwrap())
    assert [each.progress for each in restored] == [20.0, 30.0, 40.0]
    assert all(each.name == "j" for each in restored)


def test_k1_metadata_has_no_state(world: World, manager: CheckpointManager) -> None:
    point = manager.create_checkpoint(world.job(), CheckpointType.METADATA).unwrap()
    assert json.loads(Path(point.path).read_bytes())["job_state"] is None
    assert "no job state" in str(manager.restore_checkpoint(point.id).error)
    assert manager.create_checkpoint(world.job(), "differential").unwrap().checkpoint_type is CheckpointType.FULL  # type: ignore[arg-type]


def test_k2_the_class_comes_back_or_the_factory_decides(world: World, manager: CheckpointManager) -> None:
    job = world.due_job("j", progress=12.5, dependencies={"a"}, tags=["x"])
    point = manager.create_checkpoint(job).unwrap()
    restored = manager.restore_checkpoint(point.id).unwrap()
    assert type(restored) is DueJob
    assert restored == job.model_copy(update={"last_checkpoint_time": None})
    assert manager.restore_checkpoint(point.id, lambda state: state["name"]).value == "j"
    assert (point.status, point.restore_count, point.last_restore_time) == (CheckpointStatus.RESTORED, 2, world.now)
    assert len(world.events(CheckpointRestored)) == 2
    assert "not found" in str(manager.restore_checkpoint("?").error)


def test_k2_an_unknown_class_comes_back_as_a_plain_job(world: World, manager: CheckpointManager) -> None:
    class Passing(BaseJob):
        extra: int = 1

    point = manager.create_checkpoint(Passing(id="p", name="p")).unwrap()
    path = Path(point.path)
    told = json.loads(path.read_bytes())
    told["job_class"] = "gone:Gone"
    path.write_text(json.dumps(told))
    point.validation_hash = sha256(path.read_bytes())
    assert type(manager.restore_checkpoint(point.id).unwrap()) is BaseJob


def test_k2_k6_what_was_changed_or_lost_is_found(world: World, manager: CheckpointManager) -> None:
    changed, gone = (manager.create_checkpoint(world.job(each)).unwrap() for each in "ab")
    Path(changed.path).write_text("{}")
    Path(gone.path).unlink()
    assert "hash mismatch" in str(manager.validate_checkpoint(changed.id).error)
    assert "missing" in str(manager.validate_checkpoint(gone.id).error)
    assert changed.status == gone.status == CheckpointStatus.FAILED
    assert "hash mismatch" in str(manager.restore_checkpoint(changed.id).error)
    assert not manager.restore_checkpoint(gone.id)
    assert len(world.events(CheckpointCorrupt)) == 2
    sound = manager.create_checkpoint(world.job("c")).unwrap()
    assert manager.validate_checkpoint(sound.id).value is True
    assert sound.status is CheckpointStatus.VERIFIED
    assert not manager.validate_checkpoint("?")


def test_k6_an_artefact_without_its_keys_is_no_checkpoint(world: World, manager: CheckpointManager) -> None:
    point = manager.create_checkpoint(world.job()).unwrap()
    for content in ("not JSON", "[]", '{"checkpoint": {}}'):
        Path(point.path).write_text(content)
        point.validation_hash = sha256(content.encode())
        assert "cannot be read" in str(manager.validate_checkpoint(point.id).error)


def test_k3_k4_lists_are_oldest_first_and_read_the_storage(
    world: World, tmp_path: Path, manager: CheckpointManager
) -> None:
    made = []
    for _ in range(3):
        made.append(manager.create_checkpoint(world.job("j")).unwrap().id)
        world.passes(HOUR)
    assert [each.id for each in manager.list_checkpoints("j")] == made
    other = CheckpointManager(tmp_path)
    assert [each.id for each in other.list_checkpoints("j")] == made
    latest = other.get_latest_checkpoint("j")
    assert latest is not None
    assert latest.id == made[-1]
    assert CheckpointManager(tmp_path).restore_checkpoint(made[0])
    assert (other.list_checkpoints("?"), other.get_latest_checkpoint("?")) == ([], None)
    (tmp_path / "j" / "junk.json").write_text("junk")
    assert len(CheckpointManager(tmp_path).list_checkpoints("j")) == 3


def test_k5_deleting(world: World, manager: CheckpointManager) -> None:
    point, lost = (manager.create_checkpoint(world.job(each)).unwrap() for each in "ab")
    Path(lost.path).unlink()
    assert manager.delete_checkpoint(point.id)
    assert manager.delete_checkpoint(lost.id)
    assert not Path(point.path).exists()
    assert not manager.delete_checkpoint(point.id)
    assert manager.checkpoints == {"a": {}, "b": {}}
    assert len(world.events(CheckpointDiscarded)) == 2


def test_k7_old_ones_and_too_many_go(world: World, tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, retention_days=7, max_checkpoints_per_job=3, app=world.app)
    job = world.job("j", status="completed")
    made = []
    for _ in range(5):
        made.append(manager.create_checkpoint(job).unwrap().id)
        world.passes(HOUR)
    assert [each.id for each in manager.list_checkpoints("j")] == made[2:]
    world.passes(8 * DAY)
    assert manager.clean_expired_checkpoints() == 3
    assert manager.list_checkpoints("j") == []


def test_k7_the_last_way_back_and_what_others_build_on_stay(world: World, tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, app=world.app)
    job = world.job("j", status="running")
    base = manager.create_checkpoint(job).unwrap()
    world.passes(4 * DAY)
    job.progress = 50.0
    point = manager.create_checkpoint(job, CheckpointType.INCREMENTAL).unwrap()
    world.passes(4 * DAY)
    assert manager.clean_expired_checkpoints() == 0, "the incremental one is young and needs its base"
    world.passes(9 * DAY)
    assert manager.clean_expired_checkpoints() == 0, "the job is not complete and has no other"
    assert {each.id for each in manager.list_checkpoints("j")} == {base.id, point.id}
    assert manager.restore_checkpoint(point.id).unwrap().progress == 50.0
    elsewhere = CheckpointManager(tmp_path, retention_days=7, app=World(clock=world.clock).app)
    assert elsewhere.clean_expired_checkpoints() == 0


def test_k8_when_the_next_one_is_due(world: World, manager: CheckpointManager) -> None:
    job = world.job("j")
    assert manager.should_checkpoint(job)
    manager.create_checkpoint(job)
    assert not manager.should_checkpoint(job)
    assert manager.should_checkpoint(job, world.now + HOUR)
    world.passes(HOUR)
    assert manager.should_checkpoint(job)


def test_frequencies(world: World, manager: CheckpointManager) -> None:
    job = world.job("j", progress=10.0)
    last = manager.create_checkpoint(job).unwrap()
    job.progress = 19.0
    by_progress = ProgressFrequency(10.0)
    assert [by_progress.is_due(job, None, world.now), by_progress.is_due(job, last, world.now)] == [True, False]
    job.progress = 20.0
    assert by_progress.is_due(job, last, world.now)
    young = YoungDalyFrequency(timedelta(minutes=1), timedelta(hours=8))
    assert young.interval.total_seconds() == pytest.approx((2 * 60 * 28_800) ** 0.5)
    assert PeriodicFrequency(HOUR).is_due(job, None, world.now)


def test_storages_keep_bytes_by_key(tmp_path: Path) -> None:
    for storage in (MemoryCheckpointStorage(), FileCheckpointStorage(tmp_path)):
        storage.write("a/1.json", b"1")
        storage.write("a/1.json", b"2")
        storage.write("b/1.json", b"3")
        assert storage.read("a/1.json") == b"2"
        assert (storage.list("a/"), storage.list("")) == (["a/1.json"], ["a/1.json", "b/1.json"])
        storage.delete("a/1.json")
        storage.delete("a/1.json")
        assert storage.list("") == ["b/1.json"]
        with pytest.raises(Exception, match=r"1\.json"):
            storage.read("a/1.json")
    assert not list(tmp_path.rglob("*.tmp"))
