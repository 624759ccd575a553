"""Open Job Description templates: what they become, and how mistakes in them are named."""

import json
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.executors.openjd_session import SessionPlan
from adapters.importers import documents
from adapters.importers.openjd import SESSION_MARGIN_MS, ImportedJob, ImportedWorkflow, load_template
from domain.errors import BadInput, ExtraMissing
from domain.resources import AttributeNeed, Resources

BASE = Path("/work-space")
DATA = Path(os.environ.get("MILEPOST_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "openjd"
INVALID = sorted(DATA.glob("conformance/job_templates/*.invalid.yaml"))

FOREIGN: dict[str, tuple[dict[str, str], list[tuple[str, int]]]] = {
    "deadline-samples/blender_render.yaml": (
        {"BlenderSceneFile": "scene.blend", "Frames": "1-3,7"},
        [("RenderBlender", 4)],
    ),
    "deadline-samples/maya_cli_render.yaml": ({}, [("Render", 60)]),
    "deadline-samples/job_attachments_devguide.yaml": ({}, [("Step", 1)]),
    "deadline-samples/job_dev_stage_1_self_contained.yaml": (
        {"WorkspacePath": "/scratch"},
        [("InitializeWithBash", 1), ("ProcessWithPython", 1)],
    ),
    "specs-samples/algorithmic-art.yaml": (
        {"NumAnimationFrames": "4", "OutputDirectory": "out", "RenderScript": "render.py"},
        [("RenderImages", 15), ("EncodeVideos", 3)],  # frames 0 to 4 of 3 pairs of factors; one video of each pair
    ),
}
"""Templates for programs that are not here: the parameters that they need, the tasks that they have."""


def step(name: str = "S", **fields: Any) -> dict[str, Any]:
    return {"name": name, "script": {"actions": {"onRun": {"command": "true"}}}} | fields


def template(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"specificationVersion": "jobtemplate-2023-09", "name": "T", "steps": list(steps) or [step()]} | fields


def after(name: str, predecessor: str) -> dict[str, Any]:
    return step(name, dependencies=[{"dependsOn": predecessor}])


def environment(name: str = "E", **fields: Any) -> dict[str, Any]:
    return {
        "specificationVersion": "environment-2023-09",
        "environment": {"name": name, "variables": {"X": "1"}},
    } | fields


def load(document: dict[str, Any] | str, /, *environments: Path, **parameters: str) -> ImportedWorkflow:
    text = document if isinstance(document, str) else json.dumps(document)
    return load_template(text, parameters=parameters, environments=environments, base_dir=BASE)


def job_of(requirements: dict[str, Any]) -> ImportedJob:
    return load(template(step(hostRequirements=requirements))).jobs[0]


def problem(document: dict[str, Any] | str | Path, /, **parameters: str) -> str:
    source = json.dumps(document) if isinstance(document, dict) else document
    with pytest.raises(BadInput) as caught:
        load_template(source, parameters=parameters, base_dir=BASE)
    assert "\n" not in caught.value.message
    return caught.value.message


def refusal(read: Callable[[], object]) -> str:
    """Why it cannot be read; empty if it can."""
    try:
        read()
    except BadInput as error:
        return error.message
    return ""


def space(**ranges: Any) -> dict[str, Any]:
    return {"taskParameterDefinitions": [{"name": name, "type": "INT", "range": each} for name, each in ranges.items()]}


# Steps, tasks, dependencies.


def test_each_step_is_a_job_and_each_point_of_its_parameter_space_a_task() -> None:
    steps = [
        step("Render", parameterSpace=space(Frame="1-10", Layer=[1, 2])),
        step("Join", dependencies=[{"dependsOn": "Render"}]),
    ]
    workflow = load(
        template(*steps, name="Shot {{Param.Shot}}", parameterDefinitions=[{"name": "Shot", "type": "STRING"}]),
        Shot="42",
    )
    assert workflow.name == "Shot 42"
    assert [(job.name, job.tasks, job.task_count) for job in workflow.jobs] == [
        ("Render", "0-19", 20),
        ("Join", "0", 1),
    ]
    assert workflow.dependencies == (("Render", "Join"),)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_the_number_of_tasks_is_the_size_of_the_parameter_space(sizes: list[int]) -> None:
    ranges = {f"P{number}": f"1-{size}" for number, size in enumerate(sizes)}
    document = template(step(parameterSpace=space(**ranges)))
    expected = 1
    for size in sizes:
        expected *= size
    job = load(document).jobs[0]
    assert job.task_count == expected
    assert job.tasks == ("0" if expected == 1 else f"0-{expected - 1}")
    assert load(document).jobs[0] == job


def test_parameters_that_go_together_count_once() -> None:
    together = space(A="1-6", B="11-16", C="1-2") | {"combination": "(A, B) * C"}
    assert load(template(step(parameterSpace=together))).jobs[0].task_count == 12  # 6 pairs × 2


def test_more_tasks_than_a_job_can_have_are_refused() -> None:
    text = problem(template(step("Wide", parameterSpace=space(A="1-1000000", B="1-2"))))
    assert "step 'Wide' has 2,000,000 tasks; a job can have 1,000,000" in text


def test_the_payload_holds_one_step_and_nothing_that_only_people_read() -> None:
    definitions = [
        {"name": "P", "type": "INT", "default": 5, "description": "words", "userInterface": {"control": "SPIN_BOX"}}
    ]
    steps = [step("One", description="words"), step("Two", dependencies=[{"dependsOn": "One"}])]
    jobs = load(template(*steps, description="words", parameterDefinitions=definitions)).jobs
    plan = msgspec.json.decode(jobs[1].work.payload, type=SessionPlan)
    assert jobs[1].work.runner == "openjd"
    assert [each["name"] for each in plan.template["steps"]] == ["Two"]
    assert plan.template["parameterDefinitions"] == [{"name": "P", "type": "INT", "default": 5}]
    assert (plan.parameters["P"].type, plan.parameters["P"].value) == ("INT", "5")
    assert not [word for word in ("words", "One", "SPIN_BOX") if word in jobs[1].work.payload]


# Requirements.


def test_a_step_that_asks_for_nothing_gets_one_core() -> None:
    assert load(template()).jobs[0].requirement.resources == Resources(millicores=1000)
    assert job_of({"amounts": [{"name": "amount.worker.memory", "min": 5}]}).requirement.resources.millicores == 1000


def test_amounts_become_resources_rounded_up() -> None:
    amounts = {
        "amount.worker.vcpu": 2.5, "Amount.Worker.Memory": 1024.2, "amount.worker.disk.scratch": 1.5,
        "amount.worker.gpu": 1, "amount.worker.gpu.memory": 4096,
        "amount.licence.nuke": 0.5, "acme:amount.slots": 3, "amount.none": 0,
    }  # fmt: skip
    job = job_of({"amounts": [{"name": name, "min": least} for name, least in amounts.items()]})
    assert job.requirement.resources == Resources(
        millicores=2500,
        memory_mib=1025,
        gpus=1,
        storage_mib=1536,  # the specification counts scratch space in GiB
        named=(("acme:slots", 3), ("licence.nuke", 1), ("worker.gpu.memory", 4096)),
    )


@pytest.mark.parametrize(("amount", "millicores"), [({"max": 8}, 1000), ({"max": 0.5}, 500), ({"min": 0.25}, 250)])
def test_a_step_without_a_least_number_of_cores_gets_one_at_most(amount: dict[str, float], millicores: int) -> None:
    job = job_of({"amounts": [{"name": "amount.worker.vcpu", **amount}]})
    assert job.requirement.resources.millicores == millicores


def test_an_amount_beyond_all_nodes_is_refused() -> None:
    assert "amount.x asks for" in problem(
        template(step(hostRequirements={"amounts": [{"name": "amount.x", "min": 1e300}]}))
    )


def test_attributes_become_demands_without_case() -> None:
    attributes = [
        {"name": "attr.worker.os.family", "anyOf": ["Linux", "macos"]},
        {"name": "ATTR.Custom.Config", "allOf": ["HostA", "{{Param.Show}}"]},
    ]
    definitions = [{"name": "Show", "type": "STRING", "default": "Dune"}]
    job = load(template(step(hostRequirements={"attributes": attributes}), parameterDefinitions=definitions)).jobs[0]
    assert job.requirement.attributes == (
        AttributeNeed("custom.config", all_of=("hosta", "dune")),
        AttributeNeed("worker.os.family", any_of=("linux", "macos")),
    )


# Time.


def script(run: dict[str, Any], **around: dict[str, Any]) -> dict[str, Any]:
    environments = [{"name": "E", "script": {"actions": around}}] if around else []
    fields: dict[str, Any] = {"stepEnvironments": environments} if environments else {}
    return template({"name": "S", "script": {"actions": {"onRun": {"command": "true", **run}}}, **fields})


NOTIFY = {"mode": "NOTIFY_THEN_TERMINATE"}


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        (script({}), None),
        (script({"timeout": 60}), 60),
        (script({"timeout": 60, "cancelation": NOTIFY}), 180),  # 60 + the usual 120 to end after the notification
        (script({"timeout": 60, "cancelation": NOTIFY | {"notifyPeriodInSeconds": 7}}), 67),
        (script({"timeout": 60, "cancelation": {"mode": "TERMINATE"}}), 60),
        (script({"timeout": 60}, onEnter={"command": "true"}), None),
        (script({"timeout": 60}, onEnter={"command": "true", "timeout": 10}), 70),
        (script({"timeout": 60}, onEnter={"command": "true", "timeout": 10}, onExit={"command": "true"}), 370),
        (script({"timeout": 10**40}), None),
    ],
)
def test_the_walltime_is_what_all_actions_of_a_session_may_take(document: dict[str, Any], seconds: int | None) -> None:
    expected = None if seconds is None else seconds * 1000 + SESSION_MARGIN_MS
    assert load(document).jobs[0].walltime_ms == expected


@pytest.mark.parametrize(
    ("method", "grace_ms"),
    [({}, None), ({"cancelation": {"mode": "TERMINATE"}}, None), ({"cancelation": NOTIFY}, 120_000)],
)
def test_the_grace_period_is_the_notify_period_of_the_task(method: dict[str, Any], grace_ms: int | None) -> None:
    assert load(script(method)).jobs[0].grace_ms == grace_ms


# Parameters.


@pytest.mark.parametrize(
    ("definition", "given_values", "reason"),
    [
        ({"type": "STRING"}, {}, "Values missing for required job parameters: P"),
        ({"type": "STRING"}, {"P": "x", "Extra": "1"}, "not defined in the template: Extra"),
        ({"type": "INT", "minValue": 3}, {"P": "1"}, "Value (1) for parameter P must be at least 3"),
        ({"type": "INT"}, {"P": "many"}, "Value (many) for parameter P must"),
        ({"type": "FLOAT", "maxValue": 3}, {"P": "nan"}, "Value (nan) for parameter P must be a finite number"),
        ({"type": "FLOAT"}, {"P": "-inf"}, "Value (-inf) for parameter P must be a finite number"),
        ({"type": "FLOAT"}, {"P": "much"}, "Value (much) for parameter P must be floating point"),
        ({"type": "STRING", "allowedValues": ["a", "b"]}, {"P": "c"}, "P value (c) not in allowedValues"),
        ({"type": "PATH", "default": "../secrets"}, {}, "P references a path outside of the template directory"),
    ],
)
def test_wrong_parameters_are_named(definition: dict[str, Any], given_values: dict[str, str], reason: str) -> None:
    text = problem(template(parameterDefinitions=[{"name": "P", **definition}]), **given_values)
    assert text.startswith("the template: ")
    assert reason in text


def test_relative_paths_start_where_they_were_written(tmp_path: Path) -> None:
    definitions = [
        {"name": name, "type": "PATH", "default": "in/scene"} for name in ("Default", "Given", "Absolute", "Empty")
    ]
    file = tmp_path / "job.json"
    file.write_text(json.dumps(template(parameterDefinitions=definitions)))
    values = {"Given": "a/b", "Absolute": "/c", "Empty": ""}
    plan = plan_of(load_template(file, parameters=values, base_dir=BASE))
    assert {name: each.value for name, each in plan.parameters.items()} == {
        "Default": str(tmp_path / "in/scene"), "Given": str(BASE / "a/b"), "Absolute": "/c", "Empty": "",
    }  # fmt: skip


def plan_of(workflow: ImportedWorkflow) -> SessionPlan:
    return msgspec.json.decode(workflow.jobs[0].work.payload, type=SessionPlan)


def test_environment_templates_bring_parameters_and_stand_outermost_first(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer.yaml", tmp_path / "inner.json"
    definition = {"name": "Q", "type": "INT", "default": 3}
    outer.write_text(yaml.safe_dump(environment("Outer", parameterDefinitions=[definition])))
    inner.write_text(json.dumps(environment("Inner")))
    plan = plan_of(load(template(), outer, inner, Q="4"))
    assert [each["environment"]["name"] for each in plan.environments] == ["Outer", "Inner"]
    assert plan.parameters["Q"].value == "4"


def test_a_mistake_in_an_environment_template_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "queue.yaml"
    file.write_text("specificationVersion: environment-2023-09\nenvironment:\n  name: E\n")
    with pytest.raises(BadInput, match=r"queue\.yaml: line 2, environment: "):
        load(template(), file)


# Refusals.

MISPLACED = """\
specificationVersion: jobtemplate-2023-09
name: T
steps:
- name: S
  script:
    actions:
      onRun:
        command: "{{Param.Nobody}}"
        timeout: 0
  {}
"""


def test_all_mistakes_are_named_with_their_lines() -> None:
    text = problem(MISPLACED.replace("  {}\n", ""))
    assert "line 9, steps[0] -> script -> actions -> onRun -> timeout: timeout must be a positive integer" in text
    assert "line 8, steps[0] -> script -> actions -> onRun -> command: Variable Param.Nobody does not exist" in text


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (template(extensions=["TASK_CHUNKING"]), "extensions: extension TASK_CHUNKING is not supported yet"),
        (template(steps=5), "steps: Input should be a valid list"),
        (template({"name": "S"}), "steps[0]: Must specify"),
        ({"specificationVersion": "jobtemplate-2023-09"}, "line 1, name: Field required"),
        ({"specificationVersion": "jobtemplate-1999"}, "Unknown template version"),
        ({}, "missing Open Job Description schema version"),
        (environment(), "is not a Job Template version"),
        (template(after("A", "B"), after("B", "A")), "form a cycle: A -> B -> A"),
        (template(step(), step()), "Duplicate values for name"),
        (template(step(parameterSpace=space(F="1-x"))), "taskParameterDefinitions[0] -> range: "),
        ("specificationVersion: jobtemplate-2023-09\n7: x\n", "7: Keys should be strings"),
    ],
)  # fmt: skip
def test_templates_that_are_wrong_are_refused_with_the_place(document: dict[str, Any] | str, reason: str) -> None:
    assert reason in problem(document)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"- a\n- b\n", "the top level must be a mapping of keys to values, but it is a list"),
        (b"", "but it is empty"),
        (b"42", "but it is a single value"),
        (b"a: b\n\xff\xfe\x00", "line 2: byte 0xff is not UTF-8 text"),
        (b"a: \x00\n", "not YAML: control characters are not allowed"),
        (b"a: b\nc: [1, 2\n", "not YAML: "),
        (b"a: 1\n---\nb: 2\n", "line 2: not YAML: "),
        (b"a: !!python/object/apply:os.system ['ls']\n", "line 1: tag tag:yaml.org,2002:python/object/apply:os.system"),
        (BOMB.encode(), "line 6: more than 200,000 values"),
        (b"a: &x [*x]\n", "line 1: alias *x names nothing"),
        (b"a: " + b"[" * 100_000, "line 1: nested deeper than 100 levels"),
        (b"a: 1" + b":59" * 10_000, "line 1: a number cannot be that long"),
        (b"a: 2024-99-99\n", "a number or date in it cannot be read"),
        (b"a: 1" + b"0" * 5_000, "a number or date in it cannot be read"),
        (b"#" * 4_000_001, "longer than 4,000,000 bytes"),
        (b"a: .nan\n", "a number in it is nan, not finite"),
        (b"a: 1.0e+999\n", "a number in it is inf, not finite"),
        (b"- x\n" * 210_000, "line 200000: more than 200,000 values"),
    ],
)
def test_files_that_are_no_template_are_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(content)
    text = problem(file)
    assert str(file) in text
    assert reason in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1,}', "line 1: not JSON: "),
        (b'{"a":\n NaN}', "not JSON: NaN is no JSON value"),
        (b'{"a": 1e999}', "a number in it is inf, not finite"),
        (b'{"a": [' + b"1," * 200_000 + b"1]}", "more than 200,000 values"),
        (b'{"a": ' * 100_000, "nested deeper than 100 levels"),
        (b"[1]", "must be a mapping"),
    ],
)
def test_json_files_must_be_json(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "job.JSON"
    file.write_bytes(content)
    assert reason in problem(file)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.yaml'}: no such file or directory" in problem(tmp_path / "none.yaml")
    assert f"{tmp_path}: is a directory" in problem(tmp_path)


def test_yaml_in_the_style_of_json_is_yaml() -> None:
    text = json.dumps(template(), indent=2).replace('"name": "T"', '"name": "T",  # a comment')
    assert load(text[:-2] + ",\n}").name == "T"


def test_mistakes_in_json_have_lines_too(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(template(step(surprise=1)), indent=1))
    assert "line 14, steps[0] -> surprise: Extra inputs are not permitted" in problem(file)


@given(st.text(st.sampled_from("ab:-[]{}&*!|>#'\"%@`,? \n\t01.~<="), max_size=60))
@example("a: 0x_")
@example("? - a\n: b")
def test_no_text_does_more_than_be_refused(text: str) -> None:
    assert "\n" not in refusal(lambda: documents.read(text))


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["{{", "{{Param.P}}", "1-9"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
RICH = template(
    step("A", parameterSpace=space(F="1-3"), hostRequirements={"amounts": [{"name": "amount.x", "min": 1}]}),
    step("B", dependencies=[{"dependsOn": "A"}], stepEnvironments=[{"name": "E", "variables": {"V": "{{Param.P}}"}}]),
    parameterDefinitions=[{"name": "P", "type": "INT", "default": 1, "minValue": 0}],
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@given(st.sampled_from(places(RICH)[1:]), JUNK)
@example(("parameterDefinitions", 0, "default"), float("inf"))
@example(("steps", 0, "hostRequirements", "amounts", 0, "min"), float("nan"))
def test_a_template_with_junk_in_one_place_is_read_or_refused(place: tuple[str | int, ...], junk: object) -> None:
    document = json.loads(json.dumps(RICH))
    target: Any = document
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = junk
    assert "\n" not in refusal(lambda: load(yaml.safe_dump(document, allow_unicode=True)))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openjd.model", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'milepost\[openjd\]'"):
        load(template())


# Templates of others.


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.name)
def test_conformance_templates_that_are_invalid_are_refused_with_the_line(file: Path) -> None:
    assert f"{file}: line " in problem(file)


@pytest.mark.parametrize("name", [name for name in FOREIGN if (DATA / name).exists()])
def test_templates_for_programs_that_are_not_here_become_workflows(name: str) -> None:
    parameters, expected = FOREIGN[name]
    workflow = load_template(DATA / name, parameters=parameters, base_dir=BASE)
    assert [(job.name, job.task_count) for job in workflow.jobs] == expected
    assert [job.requirement.resources for job in workflow.jobs] == [Resources(millicores=1000)] * len(expected)
    assert list(workflow.dependencies) == [(a[0], b[0]) for a, b in pairwise(expected)]
