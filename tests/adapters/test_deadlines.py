"""`milepost deadlines` and its questions: who may be late now and then, and how good forecasts were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.deadlines import _score_page, percent, slack_text
from adapters.cli.render import put
from application.forecasts import Forecasts
from domain.job import commands as c
from domain.policies import FAMILIES, Policies
from domain.policies.order import Fifo
from tests.adapters.cli_runner import Cli
from tests.adapters.counter import Counter, counter
from tests.application.test_forecasts import MINUTE, Oracle
from tests.builders import HOUR


class Studio(Counter, Oracle):
    """A farm with a counter and a recorder."""

    def __init__(self, data_dir: Path, log: Any) -> None:
        Counter.__init__(self, data_dir, log)
        self.forecasts = Forecasts(self.app, gap_ms=0)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """One core; runs of ten minutes; one job surely late, one at risk behind it, one ahead, one without a deadline."""
    monkeypatch.setattr("tests.adapters.counter.Counter", Studio)
    with counter(tmp_path) as opened:
        assert isinstance(opened, Studio)
        opened.nodes("n1", cores=1)
        opened.client("show")
        opened.teach(10)
        opened.due("job-1", minutes=4, kind="shot")
        opened.due("job-2", minutes=20, kind="shot")
        opened.due("job-3", minutes=600, walltime_ms=HOUR, client_id="show")
        opened.submit("job-4", kind="shot")
        opened.cycle()
        yield opened


def rows(answer: dict[str, Any]) -> list[str]:
    return [row["job_id"] for row in answer["rows"]]


def test_the_most_likely_to_be_late_come_first(studio: Studio) -> None:
    found = studio.ask("/api/deadlines")
    assert rows(found) == ["job-1", "job-2"]
    assert found["words"] == {"ahead": 1, "tight": 0, "at risk": 1, "late": 1}
    late, risk = found["rows"]
    assert (late["word"], late["status"], late["why"]) == ("late", "running", "")
    assert late["slack_ms"] == pytest.approx(-6 * MINUTE, abs=MINUTE)
    assert (risk["word"], risk["client_id"], risk["basis"]) == ("at risk", "default", "history")
    assert risk["probability"] == pytest.approx(0.5, abs=0.1)
    assert risk["why"].startswith("needs 1 core")
    assert risk["reasons"][0]["code"] == "resources-short"
    assert risk["earliest_ms"] < risk["expected_ms"] < risk["latest_ms"]
    assert found["total"] == 2


def test_all_pages_and_clients(studio: Studio) -> None:
    assert rows(studio.ask("/api/deadlines", all=True)) == ["job-1", "job-2", "job-3"]
    page = studio.ask("/api/deadlines", all=True, limit=1, offset=1)
    assert (rows(page), page["total"]) == (["job-2"], 3)
    shown = studio.ask("/api/deadlines", client="show", all=True)
    assert (rows(shown), sum(shown["words"].values())) == (["job-3"], 1)


def test_the_past_is_forecast_by_what_was_known_then(studio: Studio) -> None:
    present = studio.ask("/api/deadlines", all=True)
    at = f"@{studio.position}"
    studio.clock.advance(HOUR)
    studio.start("job-1")
    studio.finish("job-1")
    assert rows(studio.ask("/api/deadlines")) == ["job-2"]
    then = studio.ask("/api/deadlines", all=True, at=at)
    assert (then["rows"], then["words"]) == (present["rows"], present["words"])
    assert rows(studio.ask("/api/deadlines", at="-1h", all=True)) == rows(present)


def test_a_held_job_is_at_risk_and_says_who_holds_it(studio: Studio) -> None:
    studio.do(c.HoldJob(job_id="job-3"))
    found = {row["job_id"]: row for row in studio.ask("/api/deadlines")["rows"]}["job-3"]
    assert (found["word"], found["probability"], found["slack_ms"]) == ("at risk", None, None)
    assert found["why"] == "is held"


def test_policies_that_this_process_does_not_have_are_said_to_be_left_out(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES["order"], "our-own-order", Fifo)
    studio.app.farm.policies = Policies(order="our-own-order")
    assert studio.ask("/api/deadlines")["note"] == ""
    studio.app.farm.policies = Policies(order="theirs")
    found = studio.ask("/api/deadlines")
    assert "there is no order policy 'theirs'" in found["note"]
    assert rows(found) == ["job-1", "job-2"]


def test_scores_are_summed_up_and_can_be_asked_for_as_they_were(studio: Studio) -> None:
    assert studio.ask("/api/deadlines/score")["scored"] == 0
    studio.forecasts.look()
    for minutes, job_id in ((10, "job-1"), (9, "job-2")):
        studio.cycle()
        studio.start(job_id)
        studio.clock.advance(minutes * MINUTE)
        studio.finish(job_id)
        studio.forecasts.look()
    found = studio.ask("/api/deadlines/score")
    assert (found["scored"], found["completed"], found["late"], found["confidence"]) == (2, 2, 1, 0.9)
    first = found["first"]
    assert [(row["from_percent"], row["jobs"]) for row in first["deciles"]][-1] == (90, 1)
    assert (first["chances"], first["intervals"], first["within"]) == (2, 2, 1.0)
    assert 0 < first["brier"] < 0.25
    assert studio.ask("/api/deadlines/score", client="show")["scored"] == 0
    before = max(each.position for each in studio.recorded() if each.stream.startswith("forecast-")) - 1
    assert studio.ask("/api/deadlines/score", at=f"@{before}")["scored"] == 1


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_shows_who_may_be_late(milepost: Cli) -> None:
    assert "No live job has a deadline." in milepost("deadlines").out
    soon = milepost.submit("--name", "soon", "--deadline", "+1m", "--walltime", "2h", "--", "true")
    far = milepost.submit("--name", "far", "--deadline", "+9d", "--walltime", "2h", "--", "true")
    head, *lines = milepost("deadlines").out.splitlines()
    assert head.split()[:5] == ["JOB", "NAME", "CLIENT", "STANDS", "LATE"]
    assert [line.split()[0] for line in lines] == [soon, far]  # the node is offline, so that nobody can say
    assert all("at risk" in line and "?" in line for line in lines)
    found = milepost.json("deadlines", "--all", "--client", "default")
    assert {row["job_id"] for row in found["rows"]} == {soon, far}
    assert found["rows"][0]["probability"] is None
    past = milepost("deadlines", "--at", "@1").out
    assert "No live job has a deadline." in past


def test_the_command_shows_how_good_forecasts_were(milepost: Cli) -> None:
    assert "No job with a forecast has ended yet." in milepost("deadlines", "--score").out
    assert milepost.json("deadlines", "--score")["scored"] == 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--client", "nobody"), 2, "nobody"),
        (("--at", "@999999"), 2, "@999999"),
        (("--score", "--all"), 2, "leave --all"),
        (("--limit", "0"), 2, "--limit"),
    ],
)
def test_mistakes_are_refused(milepost: Cli, args: tuple[str, ...], code: int, said: str) -> None:
    assert said in milepost("deadlines", *args, code=code).err


def test_scores_are_shown_with_their_deciles(studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    studio.forecasts.look()
    studio.start("job-1")
    studio.clock.advance(10 * MINUTE)
    studio.finish("job-1")
    studio.forecasts.look()
    put(_score_page(studio.ask("/api/deadlines/score")))
    text = capsys.readouterr().out
    assert "1, 1 of them late" in text
    assert "100 % (meant: 90 %)" in text
    assert "90–100 %" in text


@pytest.mark.parametrize(
    ("chance", "said"), [(None, "?"), (0.0, "0 %"), (0.004, "<1 %"), (0.634, "63 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_a_chance_is_never_said_to_be_surer_than_it_is(chance: float | None, said: str) -> None:
    assert percent(chance) == said


@pytest.mark.parametrize(("slack_ms", "said"), [(None, "?"), (90_000, "1 min 30 s"), (-HOUR, "-1 h"), (0, "0 ms")])
def test_slack_is_told_with_its_sign(slack_ms: int | None, said: str) -> None:
    assert slack_text(slack_ms) == said
