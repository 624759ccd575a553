"""Open Job Description templates on a real farm end as they should: through submission, supervisors and sessions."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.executors.machine import LocalNode, machine_nodes
from adapters.importers.openjd import load_template
from adapters.importers.submission import Extras, submission_of
from adapters.library import Milepost
from domain.decisions import ReasonCode
from domain.errors import BadInput
from domain.job.events import TasksFailed
from domain.job.values import FailureClass
from domain.resources import Resources

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MILEPOST_TEST_DATA", ROOT.parent / "shared" / "data")) / "openjd"

OWN = """
specificationVersion: jobtemplate-2023-09
name: Own
parameterDefinitions:
- {name: Word, type: STRING, default: hello}
steps:
- name: First
  parameterSpace:
    taskParameterDefinitions:
    - {name: Frame, type: INT, range: "1-3"}
  script:
    embeddedFiles:
    - {name: Run, type: TEXT, filename: run.sh, data: "echo {{Param.Word}} {{Task.Param.Frame}} $COLOUR"}
    actions:
      onRun: {command: sh, args: ["{{Task.File.Run}}"]}
  stepEnvironments:
  - name: Colours
    script:
      actions:
        onEnter: {command: sh, args: ["-c", "echo 'openjd_env: COLOUR=blue'"]}
- name: Second
  dependencies: [{dependsOn: First}]
  script:
    actions:
      onRun: {command: sh, args: ["-c", "echo 'openjd_progress: 50'; exit {{EXIT}}"]}
"""

RUNNABLE = {
    "cli-tests/basic.yaml": ({"J": "Jvalue"}, "completed"),
    "cli-tests/basic_dependency_job.yaml": ({"J": "Jvalue"}, "completed"),
    "cli-tests/simple_with_j_param.yaml": ({"J": "Jvalue"}, "completed"),
    "cli-tests/simple_with_j_param_exit_1.yaml": ({"J": "Jvalue"}, "failed"),
    "deadline-samples/simple_job.yaml": ({}, "completed"),
    "deadline-samples/cli_job.yaml": ({"DataDir": "dir"}, "completed"),
    "deadline-samples/job_env_vars.yaml": ({}, "completed"),
    "specs-samples/host-requirements.yaml": ({}, "completed"),
    "specs-samples/stdout-messages.yaml": ({}, "completed"),
    "specs-samples/ui-controls-showcase.yaml": (
        {"InputFilePicker": "in", "OutputFilePicker": "out", "DirectoryPicker": "dir"},
        "completed",
    ),
}
"""Templates without extensions and foreign programs: parameters and how the workflow ends."""


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milepost]:
    share = machine_nodes(1)[0]
    configured = {"custom.host_config": ("hostconfiga", "hostconfigb", "hostconfigc")}
    node = LocalNode("node-1", Resources(8_000, 16_384), {**share.attributes, **configured})
    with Milepost.open(tmp_path_factory.mktemp("farm"), nodes=[node]) as opened:
        yield opened


def run(farm: Milepost, template: Path | str, parameters: dict[str, str]) -> list[Any]:
    """Submits a template, works it off, and gives the rows of its jobs."""
    imported = load_template(template, parameters=parameters, base_dir=farm.server.data_dir)
    command = submission_of(imported, farm.app.ids.new, Extras())
    farm.handle(command)
    assert farm.run(timeout_s=60)
    ids = {job.spec.job_id for job in command.jobs}
    return [row for row in farm.queue(everything=True) if row.job_id in ids]


def test_steps_tasks_environments_and_embedded_files_run_in_order(farm: Milepost) -> None:
    first, second = run(farm, OWN.replace("{{EXIT}}", "0"), {"Word": "hi"})
    assert (first.status, first.succeeded, second.status) == ("completed", 3, "completed")
    assert "hi 2 blue" in farm.output(first.job_id, 1).splitlines()
    assert first.ended_ms is not None
    assert second.started_ms is not None
    assert first.ended_ms <= second.started_ms


def test_a_failing_step_fails_the_workflow_and_leaves_the_rest_waiting(farm: Milepost) -> None:
    text = OWN.replace("{{EXIT}}", "0").replace("echo {{Param.Word}}", "exit 3; echo")
    first, second = run(farm, text, {})
    assert (first.status, first.failed, second.status) == ("failed", 3, "pending")
    assert second.blockers[0].code is ReasonCode.DEPENDENCY_FAILED


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RUNNABLE if (DATA / name).exists()])
def test_a_published_template_ends_as_it_should(farm: Milepost, name: str) -> None:
    parameters, outcome = RUNNABLE[name]
    (farm.server.data_dir / "dir").mkdir(exist_ok=True)
    rows = run(farm, DATA / name, parameters)
    statuses = {str(row.status) for row in rows}
    assert statuses == {outcome}, [farm.output(row.job_id) for row in rows]


@pytest.mark.parametrize("path", sorted((DATA / "conformance").glob("*/*.invalid*.yaml")), ids=lambda path: path.stem)
def test_a_template_that_must_be_refused_is_refused_with_its_place(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    text = yaml.safe_dump(document["template"]) if "template" in document else path.read_text()
    parameters = {name: str(value) for name, value in document.get("parameters", {}).items()}
    with pytest.raises(BadInput) as refused:
        load_template(text, parameters=parameters, base_dir=path.parent)
    assert "\n" not in refused.value.message


def test_a_step_over_its_timeout_failed_by_walltime(farm: Milepost) -> None:
    text = """
specificationVersion: jobtemplate-2023-09
name: slow
steps:
  - name: S
    script:
      actions:
        onRun: {command: sleep, args: ["60"], timeout: 1}
"""
    (row,) = run(farm, text, {})
    assert row.status == "failed"
    failed = [each.event for each in farm.events(row.job_id) if isinstance(each.event, TasksFailed)]
    assert [end.failure for event in failed for end in event.ends] == [FailureClass.WALLTIME]
