"""Checkpoints: taken once, resumed from only while they are sound, gone when discarded."""

import pytest

from domain import checkpoint
from domain.checkpoint import CheckpointState
from domain.errors import CheckpointNotFound, CheckpointStateForbids
from tests.builders import NOW
from tests.spec import scenarios

given = scenarios(checkpoint)
FIELDS = {
    "checkpoint_id": "c-1",
    "job_id": "job-1",
    "task": 3,
    "attempt": 7,
    "location": "/c/1",
    "size_bytes": 1_024,
    "sha256": "ab" * 32,
    "progress": 40,
    "job_version": 12,
    "position": 99,
}
ID = {"at_ms": NOW, "checkpoint_id": "c-1", "job_id": "job-1"}
taken = checkpoint.CheckpointTaken(at_ms=NOW, **FIELDS)
verified = checkpoint.CheckpointVerified(**ID)
corrupt = checkpoint.CheckpointCorrupt(**ID, why="missing")
discarded = checkpoint.CheckpointDiscarded(**ID, why="old")

take = checkpoint.TakeCheckpoint(**FIELDS)
verify = checkpoint.VerifyCheckpoint(checkpoint_id="c-1")
find_missing = checkpoint.VerifyCheckpoint(checkpoint_id="c-1", problem="missing")
restore = checkpoint.RestoreCheckpoint(checkpoint_id="c-1", attempt=8)
discard = checkpoint.DiscardCheckpoint(checkpoint_id="c-1", why="old")


def test_a_checkpoint_is_taken_once_with_all_that_restoring_needs() -> None:
    after = given().when(take).then(taken)
    state = after.state
    assert (state.task, state.location, state.sha256, state.job_version, state.progress) == (
        3,
        "/c/1",
        "ab" * 32,
        12,
        40,
    )
    assert state.usable
    after.when(take).then_nothing()


def test_a_sound_checkpoint_is_verified_once() -> None:
    after = given(taken).when(verify).then(verified)
    assert after.state.state is CheckpointState.VERIFIED
    assert after.state.usable
    after.when(verify).then_nothing()


@pytest.mark.parametrize("facts", [(taken,), (taken, verified)])
def test_a_checkpoint_whose_artefact_changed_is_never_resumed_from(
    facts: tuple[checkpoint.CheckpointEvent, ...],
) -> None:
    after = given(*facts).when(find_missing).then(corrupt)
    assert not after.state.usable
    after.when(restore).then_raises(CheckpointStateForbids, state=CheckpointState.CORRUPT, verb="restore-checkpoint")
    after.when(verify).then_raises(CheckpointStateForbids, state=CheckpointState.CORRUPT, verb="verify-checkpoint")


def test_a_checkpoint_can_be_restored_again_and_again() -> None:
    fact = checkpoint.CheckpointRestored(**ID, attempt=8)
    after = given(taken, verified).when(restore).then(fact)
    assert after.state.state is CheckpointState.VERIFIED
    after.when(restore).then(fact)


@pytest.mark.parametrize("facts", [(taken,), (taken, verified), (taken, corrupt)])
def test_a_discarded_checkpoint_is_gone(facts: tuple[checkpoint.CheckpointEvent, ...]) -> None:
    after = given(*facts).when(discard).then(discarded)
    after.when(discard).then_nothing()
    after.when(restore).then_raises(CheckpointStateForbids, state=CheckpointState.DISCARDED)
    after.when(find_missing).then_raises(CheckpointStateForbids, state=CheckpointState.DISCARDED)


@pytest.mark.parametrize("command", [verify, restore, discard])
def test_nothing_can_be_asked_of_a_checkpoint_that_was_never_taken(command: checkpoint.CheckpointCommand) -> None:
    given().when(command).then_raises(CheckpointNotFound, checkpoint_id="c-1")
