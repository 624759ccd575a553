"""What went wrong, in our own words: errors of the libraries underneath become errors that callers know."""

import http
import sqlite3

from eventsourcing.persistence import PersistenceError
from litestar.exceptions import HTTPException
from sqlalchemy.exc import SQLAlchemyError

from adapters.web.refusals import (
    MAX_BODY_BYTES,
    TOO_LARGE,
    BodyTooLarge,
    InternalError,
    Refusal,
    refusal_of,
    status_of,
)
from domain.errors import StoreError, TaskSchedulerError

OF_THE_STORE = (sqlite3.Error, PersistenceError, SQLAlchemyError)
"""What the libraries under the store raise; when the disk is full, for example."""


def as_domain_error(error: Exception) -> TaskSchedulerError:
    """Any error as one of ours; what nobody foresaw becomes an InternalError that does not show its insides."""
    if isinstance(error, TaskSchedulerError):
        return error
    if isinstance(error, OF_THE_STORE):
        return StoreError(f"the store failed: {error}")
    return InternalError(problem=type(error).__name__)


def answer_to(error: Exception) -> tuple[int, Refusal]:
    """Status and body for whatever went wrong, the web framework's own errors included."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _framework_refusal(error)
    known = as_domain_error(error)
    return status_of(known), refusal_of(known)


def _framework_refusal(error: HTTPException) -> tuple[int, Refusal]:
    """No such path, no such method, a body that is too large."""
    if error.status_code == TOO_LARGE:
        too_large = BodyTooLarge(limit_mib=MAX_BODY_BYTES >> 20)
        return status_of(too_large), refusal_of(too_large)
    phrase = http.HTTPStatus(error.status_code).phrase.lower()
    return error.status_code, Refusal(f"http.{phrase.replace(' ', '-')}", error.detail or phrase)
