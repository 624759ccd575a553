"""The two crossed trees of errors: every leaf has a code of its own, an entity, a remedy, and says what it knows."""

import pickle
import string

import pytest

from domain import errors

BY_ENTITY = {
    errors.JobError, errors.NodeError, errors.ResourceError, errors.DependencyError, errors.CheckpointError,
    errors.ReservationError, errors.ClientError, errors.WorkflowError, errors.PolicyError, errors.StoreError,
    errors.CommandError, errors.PartitionError,
}  # fmt: skip
BY_REMEDY = {errors.NotFound, errors.NotAllowed, errors.Invalid, errors.Conflict}
CODES = {
    "JobNotFound": "job.not-found",
    "JobExists": "job.exists",
    "JobEnded": "job.ended",
    "JobNotEnded": "job.not-ended",
    "NothingToRetry": "job.nothing-to-retry",
    "JobInvalid": "job.invalid",
    "TasksNotWaiting": "job.tasks-not-waiting",
    "AttemptNotFound": "job.attempt-not-found",
    "JobProtected": "job.protected",
    "NothingToApprove": "job.nothing-to-approve",
    "RequirementImpossible": "resource.impossible",
    "NodeNotFound": "node.not-found",
    "NodeStateForbids": "node.state",
    "NodeInvalid": "node.invalid",
    "ClientNotFound": "client.not-found",
    "ClientInvalid": "client.invalid",
    "ClientSuspended": "client.suspended",
    "GuaranteesExceeded": "client.guarantees-exceeded",
    "PartitionNotFound": "partition.not-found",
    "PartitionInvalid": "partition.invalid",
    "PartitionInUse": "partition.in-use",
    "PartitionForbids": "partition.forbids",
    "WorkflowNotFound": "workflow.not-found",
    "WorkflowInvalid": "workflow.invalid",
    "WorkflowStateForbids": "workflow.state",
    "DependencyNotFound": "dependency.not-found",
    "DependencyCycle": "dependency.cycle",
    "CheckpointNotFound": "checkpoint.not-found",
    "CheckpointStateForbids": "checkpoint.state",
    "ReservationNotFound": "reservation.not-found",
    "ReservationExists": "reservation.exists",
    "ReservationInvalid": "reservation.invalid",
    "ReservationStateForbids": "reservation.state",
    "ReservationConflict": "reservation.conflict",
    "PolicyInvalid": "policy.invalid",
    "CommandNotFound": "command.not-found",
    "NothingToUndo": "command.nothing-to-undo",
    "UndoForbidden": "command.not-undoable",
    "UndoOvertaken": "command.overtaken",
    "AlreadyUndone": "command.already-undone",
    "VersionConflict": "store.version-conflict",
    "PositionConflict": "store.position-conflict",
    "StoreLocked": "store.locked",
    "StoreNotFound": "store.not-found",
    "AmbiguousId": "id.ambiguous",
    "BadInput": "input.invalid",
    "ExtraMissing": "extra.missing",
}
"""Codes are a promise: programs compare them. New ones are added here, none is ever changed."""
WITHOUT_ENTITY = {errors.AmbiguousId, errors.BadInput, errors.ExtraMissing}


def below(kind: type[errors.TaskSchedulerError]) -> set[type[errors.TaskSchedulerError]]:
    found = set(kind.__subclasses__())
    return found.union(*(below(child) for child in found))


ALL = {kind for kind in below(errors.TaskSchedulerError) if kind.__module__ == errors.__name__}
LEAVES = sorted(ALL - BY_ENTITY - BY_REMEDY, key=lambda kind: kind.__name__)


def fields_of(kind: type[errors.TaskSchedulerError]) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}


def test_every_error_has_the_code_that_was_promised() -> None:
    assert {kind.__name__: kind.code for kind in LEAVES} == CODES
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_belongs_to_one_entity_and_one_remedy(kind: type[errors.TaskSchedulerError]) -> None:
    assert len(BY_REMEDY & set(kind.__mro__)) == 1
    assert len(BY_ENTITY & set(kind.__mro__)) == (0 if kind in WITHOUT_ENTITY else 1)
    assert "code" in vars(kind)


@pytest.mark.parametrize("kind", LEAVES)
def test_the_docstring_is_the_message_and_names_what_the_error_knows(kind: type[errors.TaskSchedulerError]) -> None:
    values = {name: f"value-of-{name}" for name in fields_of(kind)}
    error = kind(**values)
    assert all(value in error.message for value in values.values())
    assert str(error) == error.message
    assert error.fields == values
    assert not set("{}") & set(error.message)
    assert error.message[0].islower() or error.message[0] == "'"


def test_a_message_can_be_given_and_a_field_left_out() -> None:
    assert errors.JobNotFound("no such job").message == "no such job"
    assert "'<job_id>'" in errors.JobNotFound().message


def test_a_value_with_braces_is_shown_as_it_is() -> None:
    assert "'{x}'" in errors.JobNotFound(job_id="{x}").message


def test_catching_the_entity_or_the_remedy_catches_the_error() -> None:
    for kind in (errors.JobError, errors.NotFound, errors.TaskSchedulerError):
        with pytest.raises(kind):
            raise errors.JobNotFound(job_id="job-1")


def test_an_error_survives_a_trip_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(errors.JobNotFound(job_id="job-1")))
    assert (error.message, error.fields) == (errors.JobNotFound(job_id="job-1").message, {"job_id": "job-1"})
