"""What the core foresees of a caller's job."""

from datetime import timedelta

from adapters.facades.bridge import names
from application.app import Application
from domain.forecasting.forecast import forecast_start


def foreseen_wait(app: Application, name: str) -> timedelta | None:
    """How long until a job is expected to start; None for a job that does not wait, or when nobody can tell."""
    job_id, now_ms = names.job_id(name), app.clock.now_ms()
    with app.lock:
        if job_id not in app.farm.jobs or not app.farm.nodes:
            return None
        foreseen = forecast_start(app.farm, app.farm.policies, now_ms, job_id)
    if foreseen is None or foreseen.expected_ms is None:
        return None
    return timedelta(milliseconds=max(0, foreseen.expected_ms - now_ms))
