"""What went wrong, in our own words: errors of the libraries underneath become errors that callers know."""

import sqlite3

from eventsourcing.persistence import PersistenceError
from sqlalchemy.exc import SQLAlchemyError

from adapters.web.refusals import InternalError
from domain.errors import StoreError, TaskSchedulerError

OF_THE_STORE = (sqlite3.Error, PersistenceError, SQLAlchemyError)
"""What the libraries under the store raise; when the disk is full, for example."""


def as_domain_error(error: Exception) -> TaskSchedulerError:
    """Any error as one of ours; what nobody foresaw becomes an InternalError that does not show its insides."""
    if isinstance(error, TaskSchedulerError):
        return error
    if isinstance(error, OF_THE_STORE):
        return StoreError(f"the store failed: {_store_text(error)}")
    return InternalError(problem=type(error).__name__)


def _store_text(error: Exception) -> str:
    """What the store's driver says, without the statement and the link that a library puts around it."""
    text = str(getattr(error, "orig", None) or error).partition("\n")[0]
    return text.partition(" (Background on this error")[0]
