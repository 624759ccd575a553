"""The library: what it accepts, what it refuses in our own words, and what it tells."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.executors.machine import LocalNode
from adapters.library import Milepost
from domain.errors import BadInput, RequirementImpossible
from domain.resources import Resources
from tests.adapters.cli_runner import DEADLINE_S, kill_nodes

NODE = LocalNode("alone", Resources(millicores=2_000, memory_mib=512))


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Milepost]:
    with Milepost.open(tmp_path / "farm", nodes=[NODE]) as opened:
        yield opened
    kill_nodes(tmp_path / "farm")


def test_what_no_node_could_hold_is_refused_before_a_node_has_reported(tmp_path: Path) -> None:
    with Milepost.open(tmp_path / "farm", nodes=[NODE]) as farm:  # at once: its supervisor has not said a word
        with pytest.raises(RequirementImpossible, match="it needs 400 cores, the best node has 2 cores"):
            farm.submit("true", cpus=400)
        assert farm.queue(everything=True) == []


def test_what_is_no_submission_is_refused_in_our_own_words(farm: Milepost) -> None:
    with pytest.raises(BadInput, match="there is nothing to submit"):
        farm.submit()
    with pytest.raises(BadInput, match="tasks='9-1': range '9-1' runs backwards"):
        farm.submit("true", tasks="9-1")
    with pytest.raises(BadInput, match="'urgent' is not a priority; there are low, medium"):
        farm.submit("true", priority="urgent")
    with pytest.raises(BadInput, match="nan is not a number of processors"):
        farm.submit("true", cpus=float("nan"))


def test_the_story_of_a_job_tells_of_its_checkpoints_too(farm: Milepost) -> None:
    saves = 'echo x > a; echo "milepost_checkpoint: {\\"path\\": \\"$PWD/a\\", \\"progress\\": 50}"'
    job_id = farm.submit("sh", "-c", f"{saves}; echo $MILEPOST_WORKFLOW_ID")
    assert farm.run(timeout_s=DEADLINE_S)
    told = farm.story(job_id)
    assert told[0].startswith(f"{job_id} “sh” of default was submitted")
    assert any("saved checkpoint" in sentence for sentence in told)
    assert told[-1] == f"{job_id} completed: every task succeeded."
    assert farm.output(job_id).splitlines()[-1] == job_id, "a job alone stands for its workflow"
