"""What the HTTP door answers when something goes wrong, the web framework's own errors included."""

import http

from litestar.exceptions import HTTPException

from adapters.web.failures import as_domain_error
from adapters.web.refusals import MAX_BODY_BYTES, TOO_LARGE, BodyTooLarge, Refusal, refusal_of, status_of


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
