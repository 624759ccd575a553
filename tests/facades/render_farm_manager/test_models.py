"""Models: validated when they are made, not when they are changed; copies share nothing."""

from datetime import datetime

import pytest

from render_farm_manager.core.models import (
    AuditLogEntry,
    Client,
    NodeStatus,
    RenderClient,
    RenderJob,
    RenderJobStatus,
    ServiceTier,
)
from tests.facades.render_farm_manager.farms import client, job, node


def test_texts_are_accepted_for_enums_and_whole_numbers_for_floats() -> None:
    shot = job(priority="high", status="pending", estimated_duration_hours=4)
    assert shot.status is RenderJobStatus.PENDING
    assert isinstance(shot.estimated_duration_hours, float)


def test_a_status_member_given_to_a_node_is_stored_as_its_text() -> None:
    blade = node(status=NodeStatus.MAINTENANCE)
    assert type(blade.status) is str
    assert blade.status == NodeStatus.MAINTENANCE == "maintenance"


def test_assignment_is_not_validated() -> None:
    shot, blade = job(), node()
    shot.status, shot.progress, shot.priority = "anything", 180, "urgent"
    blade.status = NodeStatus.ERROR
    assert (shot.status, shot.progress, shot.priority) == ("anything", 180, "urgent")
    assert blade.status is NodeStatus.ERROR


@pytest.mark.parametrize("thing", [job(), node(), client()])
def test_undeclared_attributes_are_refused(thing: object) -> None:
    with pytest.raises(ValueError, match="no field"):
        thing.nonsense = 1  # type: ignore[attr-defined]


def test_unknown_keywords_are_ignored() -> None:
    assert not hasattr(job(nonsense=1), "nonsense")
    assert not hasattr(job(), "effective_priority")


@pytest.mark.parametrize("name", ["owner", "project", "start_time", "metadata", "tags", "resource_requirements"])
def test_what_the_base_has_more_is_not_there(name: str) -> None:
    assert not hasattr(job(), name)
    assert name not in job().model_dump()


def test_a_dump_makes_an_equal_job_again() -> None:
    shot = job(dependencies=["a"], supports_checkpoint=True)
    fields = shot.model_dump()
    assert RenderJob(**fields) == shot
    assert RenderJob(**{**fields, "id": "other"}).id == "other"


def test_copies_share_nothing_and_are_validated_again() -> None:
    blade = node(specialized_for=["physics"])
    copied = blade.model_copy(name="Copy")
    copied.capabilities.gpu_count = 9
    copied.capabilities.specialized_for.append("more")
    copied.performance_history["job_type:vfx"] = 1.0
    assert (blade.name, blade.capabilities.gpu_count, blade.performance_history) == ("Node n1", 0, {})
    assert blade.capabilities.specialized_for == ["physics"]
    with pytest.raises(ValueError, match="power_efficiency_rating"):
        blade.copy(power_efficiency_rating=101)


def test_an_update_keyword_of_a_copy_is_an_unknown_field() -> None:
    assert job().model_copy(update={"name": "other"}).name == "Job job1"
    assert job().copy(name="other").name == "other"
    assert client().model_copy(update={"name": "other"}).name == "other"


def test_both_clients_have_an_id_and_a_tier() -> None:
    other = RenderClient(client_id="c2", name="C2", service_tier="premium")
    assert (other.id, other.sla_tier, other.guaranteed_resources, other.max_resources) == (
        "c2",
        ServiceTier.PREMIUM,
        0,
        100,
    )
    assert isinstance(Client(id="a", name="A", sla_tier="any text", guaranteed_resources=0, max_resources=0), Client)
    with pytest.raises(AttributeError):
        other.id = "c3"  # type: ignore[misc]


def test_callers_subclass_models() -> None:
    class Shot(RenderJob):
        sequence: str = "010"

    shot = Shot(**job().model_dump(), sequence="020")
    assert shot.model_copy(name="x").sequence == "020"
    assert isinstance(shot.copy(), Shot)


def test_a_subclass_may_have_fields_that_the_base_dropped() -> None:
    class Tagged(RenderJob):
        tags: list[str] = []  # type: ignore[misc]
        start_time: datetime | None = None  # type: ignore[misc]

    shot = Tagged(**job().model_dump(), tags=["a"])
    shot.tags = [*shot.tags, "b"]
    shot.start_time = shot.submission_time
    again = shot.model_copy(name="again")
    assert (again.tags, again.start_time, again.name) == (["a", "b"], shot.submission_time, "again")
    assert not hasattr(job(), "tags")


def test_an_entry_has_the_time_it_was_made_at() -> None:
    entry = AuditLogEntry(event_type="x", description="y")
    assert entry.timestamp.tzinfo is None
    assert entry.details == {}
