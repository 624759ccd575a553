"""How hard the property tests look (`ci` unless `--hypothesis-profile` says otherwise), and the groups of tests."""

from hypothesis import HealthCheck, settings

from tests.groups import pytest_configure

__all__ = ["pytest_configure"]

# No deadlines: the machines that run the tests are shared, and time has its own tests (`make bench`).
settings.register_profile(
    "ci",
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=False,  # new examples every run; a failing one is printed and can be repeated
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", parent=settings.get_profile("ci"), max_examples=2_000, stateful_step_count=200)
settings.load_profile("ci")
