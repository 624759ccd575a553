"""Workflows (§7.4)."""

from datetime import timedelta
from typing import Any

import pytest

from common import JobStatus, WorkflowManager
from common.dependency_tracking import (
    DependencyTracker,
    WorkflowInstance,
    WorkflowNodeType,
    WorkflowStage,
    WorkflowTemplate,
    WorkflowTemplateType,
    WorkflowTransition,
    WorkflowTransitionType,
)
from domain.dependency import DependencyDeclared, DependencySatisfied
from domain.workflow import WorkflowSubmitted
from tests.facades.common.worlds import World


def template_of(*edges: str, kind: WorkflowTemplateType = WorkflowTemplateType.DAG) -> WorkflowTemplate:
    """A template of edges written as two letters."""
    template = WorkflowTemplate("t", "test", template_type=kind)
    for edge in edges:
        for each in edge:
            if each not in template.stages:
                template.add_stage(WorkflowStage(each, each.upper()))
        template.add_transition(WorkflowTransition(*edge))
    return template


def jobs_named(world: World, names: str) -> dict[str, Any]:
    """Jobs whose names are letters and whose ids are these twice."""
    return {each * 2: world.job(each * 2, name=each.upper()) for each in names}


def test_stages_and_transitions_have_their_defaults() -> None:
    stage = WorkflowStage("s", "S")
    assert (stage.id, stage.node_type, stage.estimated_duration) == ("s", WorkflowNodeType.STAGE, timedelta(hours=1))
    assert (stage.resource_requirements, stage.description, stage.metadata, stage.parameters) == ({}, None, {}, {})
    assert stage.to_dict()["estimated_duration_seconds"] == 3600.0
    assert WorkflowStage.from_dict(stage.to_dict()).to_dict() == stage.to_dict()
    step = WorkflowTransition("a", "b")
    assert (step.transition_type, step.condition, step.priority) == (WorkflowTransitionType.NORMAL, None, 1)
    assert WorkflowTransition.from_dict(step.to_dict()).to_dict() == step.to_dict()


def test_a_lower_priority_number_goes_first() -> None:
    template = template_of("ab")
    template.add_stage(WorkflowStage("c", "C"))
    template.add_transition(WorkflowTransition("a", "c", priority=0))
    assert [each.to_stage_id for each in template.get_transitions_from("a")] == ["c", "b"]
    assert [each.from_stage_id for each in template.get_transitions_to("b")] == ["a"]
    assert WorkflowTemplate.from_json(template.to_json()).to_dict() == template.to_dict()


def test_built_in_shapes() -> None:
    line = WorkflowTemplate.create_sequential("line", ["x", "y", "z"])
    assert list(line.stages) == ["stage_1", "stage_2", "stage_3"]
    assert line.template_type is WorkflowTemplateType.SEQUENTIAL
    assert len(line.transitions) == 2
    wide = WorkflowTemplate.create_parallel("wide", ["x", "y"])
    assert set(wide.stages) == {"start", "end", "stage_1", "stage_2"}
    assert len(wide.transitions) == 4
    assert line.id != wide.id
    assert (line.validate(), wide.validate()) == ([], [])
    assert (wide.get_start_stages(), wide.get_end_stages()) == (["start"], ["end"])


def test_w1_problems_of_a_template() -> None:
    assert template_of("ab", "bc").validate() == []
    dangling = template_of("ab")
    dangling.add_transition(WorkflowTransition("b", "?"))
    assert any("'?'" in each for each in dangling.validate())
    circle = template_of("ab", "bc", "cb")
    assert any("cycle" in each for each in circle.validate())
    loop = template_of("ab", "bc")
    loop.add_transition(WorkflowTransition("c", "a", WorkflowTransitionType.LOOP))
    assert loop.validate() == []
    nowhere = template_of("ab", "ba")
    assert {"there is no start stage", "there is no end stage"} <= set(nowhere.validate())
    island = template_of("ab", "cd", "dc")
    assert any("unreachable" in each for each in island.validate())


@pytest.mark.parametrize("word", [JobStatus.COMPLETED, "completed", "COMPLETED"])
def test_w2_a_workflow_stands_as_its_stages_do(world: World, word: Any) -> None:
    instance = WorkflowInstance("i", template_of("ab"), "o")
    instance.clock = lambda: world.now
    assert instance.status is JobStatus.PENDING
    instance.update_status({})
    assert instance.status is JobStatus.PENDING
    instance.map_stage("a", "aa")
    instance.map_stage("b", "bb")
    assert (instance.get_job_id("a"), instance.get_job_stage_id("a"), instance.get_template_stage_id("bb")) == (
        "aa",
        "aa",
        "b",
    )
    instance.update_status({"aa": "running"})
    began = instance.start_time
    assert (instance.status, instance.current_stages, began) == (JobStatus.RUNNING, {"a"}, world.now)
    world.passes(timedelta(hours=1))
    instance.update_status({"aa": word, "bb": "paused"})
    assert (instance.status, instance.current_stages, instance.start_time) == (JobStatus.PAUSED, set(), began)
    instance.update_status({"bb": word})
    ended = instance.end_time
    assert (instance.status, ended, instance.completed_stages) == (JobStatus.COMPLETED, world.now, {"a", "b"})
    world.passes(timedelta(hours=1))
    instance.update_status({})
    assert instance.end_time == ended
    assert WorkflowInstance.from_dict(instance.to_dict(), instance.template).to_dict() == instance.to_dict()


def test_w2_a_failed_stage_fails_the_workflow(world: World) -> None:
    instance = WorkflowInstance("i", template_of("ab"), "o")
    instance.map_stage("a", "aa")
    instance.map_stage("b", "bb")
    instance.update_status({"aa": "failed", "bb": "running"})
    assert (instance.status, instance.failed_stages) == (JobStatus.FAILED, {"a"})
    assert instance.end_time is not None


def test_w3_only_sound_templates_are_registered(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    refused = manager.register_template(template_of("ab", "ba"))
    assert "no start stage" in str(refused.error)
    assert manager.register_template(template_of("ab"))
    assert list(manager.templates) == ["t"]


def test_w4_jobs_stand_for_stages_by_name_or_are_made(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    assert not manager.create_instance("?", "o", {})
    template = template_of("ab", "bc", "bd")
    template.transitions[1].transition_type = WorkflowTransitionType.CONDITIONAL
    template.transitions[1].condition = "good"
    template.transitions[2].transition_type = WorkflowTransitionType.ERROR
    manager.register_template(template)
    made: list[str] = []

    def factory(name: str, description: str | None, duration: timedelta, requirements: Any) -> str:
        made.append(name)
        return f"new-{name}"

    given = {"x": {"name": "A"}, "y": world.job("y", name="B"), "z": world.job("z", name="B")}
    instance = manager.create_instance("t", "o", given, {"p": 1}, factory).unwrap()
    assert instance.stage_mapping == {"a": "x", "b": "y", "c": "new-C", "d": "new-D"}
    assert (made, instance.parameters, instance.owner_id) == (["C", "D"], {"p": 1}, "o")
    graph = manager.dependency_tracker.graphs["o"]
    kinds = {(edge.from_id, edge.to_id): (edge.dependency_type, edge.condition) for edge in graph.dependencies.values()}
    assert kinds == {
        ("x", "y"): ("sequential", None),
        ("y", "new-C"): ("conditional", "good"),
        ("y", "new-D"): ("data", None),
    }
    unmapped = manager.create_instance("t", "p", {}).unwrap()
    assert unmapped.stage_mapping == {}
    assert manager.dependency_tracker.graphs["p"].nodes == {}


def test_w4_an_edge_that_closes_a_cycle_leaves_nothing(world: World) -> None:
    tracker = DependencyTracker(app=world.app)
    tracker.create_graph("o")
    tracker.add_dependency("o", "cc", "aa")
    manager = WorkflowManager(tracker)
    manager.register_template(template_of("ab", "bc"))
    refused = manager.create_instance("t", "o", jobs_named(world, "abc"))
    assert "cycle" in str(refused.error)
    assert list(tracker.graphs["o"].dependencies) == [("cc", "aa")]
    assert manager.instances == {}


def test_w5_w6_the_next_jobs_come_in_the_order_of_the_template(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    manager.register_template(template_of("ab", "ac", "bd", "cd"))
    jobs = jobs_named(world, "abcd")
    name = manager.create_instance("t", "o", jobs).unwrap().id

    def upcoming() -> list[str]:
        return manager.get_next_jobs(name, jobs).unwrap()  # type: ignore[no-any-return]

    assert upcoming() == ["aa"]
    jobs["aa"].status = JobStatus.RUNNING
    assert upcoming() == []
    jobs["aa"].status = JobStatus.COMPLETED
    assert upcoming() == ["bb", "cc"]
    jobs["bb"].status = JobStatus.COMPLETED
    assert upcoming() == ["cc"]
    assert manager.get_next_stages(name, {"cc": "completed"}).value == ["dd"]
    assert manager.get_next_stages(name, {"dd": JobStatus.COMPLETED}).value == []
    assert not manager.get_next_stages("?", {})
    del manager.templates["t"]
    assert not manager.get_next_stages(name, {})


def test_w5_a_parallel_workflow_needs_no_job_at_its_ends(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    jobs = jobs_named(world, "ab")
    name = manager.create_parallel_workflow("o", ["A", "B"], jobs).unwrap().id
    assert manager.get_next_jobs(name, jobs).value == ["aa", "bb"]
    for job_id in jobs:
        assert manager.update_job_status(name, job_id, "completed", jobs)
    assert jobs["aa"].status == "completed"
    assert manager.get_workflow_status(name).value["progress"] == 1.0
    assert manager.instances[name].status is JobStatus.COMPLETED


def test_w7_one_job_changes(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    name = manager.create_linear_workflow("o", ["A", "B"], jobs_named(world, "ab")).unwrap().id
    assert manager.update_instance(name, "aa", "completed")
    assert manager.dependency_tracker.check_dependency("aa", "bb").value
    assert not manager.update_instance(name, "?", "completed")
    assert not manager.update_instance("?", "aa", "completed")


def test_w8_how_far_a_workflow_is(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    name = manager.create_linear_workflow("o", ["A", "B"], jobs=jobs_named(world, "ab")).unwrap().id
    fresh = manager.get_workflow_status(name).unwrap()
    assert (fresh["progress"], fresh["status"], fresh["start_time"]) == (0.0, "pending", None)
    manager.update_instance(name, "aa", "completed")
    manager.update_instance(name, "bb", "running")
    told = manager.get_workflow_status(name).unwrap()
    assert told == {
        "instance_id": name,
        "template_id": manager.instances[name].template_id,
        "owner_id": "o",
        "status": "running",
        "progress": 0.5,
        "total_stages": 2,
        "completed_stages": 1,
        "failed_stages": 0,
        "current_stages": 1,
        "stage_statuses": {**dict.fromkeys((each.value for each in JobStatus), 0), "completed": 1, "running": 1},
        "creation_time": world.now.isoformat(),
        "start_time": world.now.isoformat(),
        "end_time": None,
    }
    assert not manager.get_workflow_status("?")


def test_w9_a_line_of_n_mapped_stages_has_n_minus_1_edges(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    assert manager.create_linear_workflow("o", ["A", "B", "C", "D"], jobs_named(world, "abcd"))
    assert len(manager.dependency_tracker.graphs["o"].graph.edges) == 3
    made = manager.create_linear_workflow("p", ["A", "B"], None, lambda name, *_: f"j-{name}").unwrap()
    assert made.stage_mapping == {"stage_1": "j-A", "stage_2": "j-B"}


def test_new_jobs_are_a_workflow_of_the_core_and_end_with_it(world: World) -> None:
    manager = WorkflowManager(app=world.app)
    jobs = jobs_named(world, "ab")
    name = manager.create_linear_workflow("o", ["A", "B"], jobs).unwrap().id
    (entered,) = world.events(WorkflowSubmitted)
    assert (entered.workflow_id, entered.jobs) == (f"wf-{name}", ("job-+aa", "job-+bb"))
    assert len(world.events(DependencyDeclared)) == 1
    assert manager.update_instance(name, "aa", "completed")
    assert len(world.events(DependencySatisfied)) == 1
    assert manager.create_linear_workflow("p", ["A", "B"], jobs)
    assert len(world.events(WorkflowSubmitted)) == 1, "these jobs belong to a workflow already"
