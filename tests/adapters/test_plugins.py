"""Policies from other distributions: one of each kind, found by entry point, used by `milepost simulate`."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from adapters import plugins
from tests.adapters.cli_runner import ROOT, Said, environment
from tests.adapters.simulating import THREE, write

ORDER = '''
from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, OrderKey, register


class LargestFirst(Value, frozen=True):
    """Jobs that need the most first."""

    monotone = False
    moves = False
    sign: int = -1

    def key(self, job: Job, context: Context) -> OrderKey:
        """Millicores, the most first."""
        return (self.sign * job.spec.requirement.total().millicores,)


register("order", "x-largest", LargestFirst)
'''
PRIORITY = '''
from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, register


class OddFirst(Value, frozen=True):
    """Jobs with an odd last digit are more urgent."""

    static = False

    def level(self, job: Job, context: Context) -> float:
        """1 for odd ones."""
        return float(int(job.spec.job_id[-1]) % 2)


register("priority", "x-odd", OddFirst)
'''
ESTIMATE = '''
from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, register


class Doubled(Value, frozen=True):
    """Twice the walltime."""

    as_requested = False

    def run_ms(self, job: Job, context: Context) -> int | None:
        """None when there is no walltime."""
        return None if job.spec.walltime_ms is None else 2 * job.spec.walltime_ms


register("estimate", "x-doubled", Doubled)
'''
FILTER = '''
from domain.job.values import Job
from domain.messages import Value
from domain.indices.nodeindex import NodeIndex
from domain.policies import Context, register


class NotTheFirst(Value, frozen=True):
    """The first node stays free."""

    def mask(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """All but number 0."""
        return nodes & ~1


register("filter", "x-not-first", NotTheFirst)
'''
PLACEMENT = '''
from domain.job.values import Job
from domain.messages import Value
from domain.indices.nodeindex import NodeIndex
from domain.policies import Context, register


class Last(Value, frozen=True):
    """The node that was registered last."""

    def choose(self, job: Job, nodes: int, index: NodeIndex, context: Context) -> int:
        """The highest number."""
        return nodes.bit_length() - 1

    def score(self, job: Job, number: int, index: NodeIndex, context: Context) -> float:
        """All alike."""
        return 1.0


register("placement", "x-last", Last)
'''
BACKFILL = '''
from domain.job.values import Job
from domain.messages import Value
from domain.policies import Context, register


class LargeOnes(Value, frozen=True):
    """Jobs of several processors hold a reservation, two at most."""

    overtakes = True
    reservations = 2
    for_anybody = False
    millicores: int = 2_000

    def reserves_for(self, job: Job, context: Context) -> bool:
        """Whether it is a large one."""
        return job.spec.requirement.total().millicores >= self.millicores


register("backfill", "x-large", LargeOnes)
'''
SOURCES = {
    "order": ORDER, "priority": PRIORITY, "estimate": ESTIMATE, "filter": FILTER, "placement": PLACEMENT,
    "backfill": BACKFILL,
}  # fmt: skip
POLICIES = """
order = "x-largest"
priority = "x-odd"
estimate = "x-doubled"
filters = ["x-not-first"]
placement = "x-last"
backfill = "x-large"
parameters.backfill.millicores = 3000
"""
NODES = '[[nodes]]\nid = "n{n}"\ncount = 3\ncores = 4\n'


def distribution(folder: Path, modules: dict[str, str], entries: dict[str, str], name: str = "ourpolicies") -> Path:
    """An installed distribution: a package, and the metadata that an installer writes."""
    package, info = folder / name, folder / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text('"""Policies of our own."""\n')
    for module, source in modules.items():
        (package / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{entry} = {value}\n" for entry, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{lines}")
    return folder


def simulate(tmp_path: Path, site: Path, *words: str) -> Said:
    """`milepost simulate` as a process that has the distribution on its path."""
    trace = write(tmp_path / "three.swf", THREE)
    env = environment(tmp_path / "data") | {"PYTHONPATH": f"{ROOT}:{site}"}
    command = [sys.executable, "-m", "adapters.cli", "simulate", trace, *words]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def entries(name: str = "ourpolicies") -> dict[str, str]:
    return {family: f"{name}.{family}" for family in SOURCES}


@pytest.mark.parametrize("family", SOURCES)
def test_a_policy_takes_30_lines_of_code_at_most(family: str) -> None:
    assert len([line for line in SOURCES[family].splitlines() if line.strip()]) <= 30


def test_one_of_each_kind_is_found_and_used(tmp_path: Path) -> None:
    site = distribution(tmp_path / "site", SOURCES, entries())
    policies = write(tmp_path / "p.toml", POLICIES)
    farm = write(tmp_path / "nodes.toml", NODES)
    kept = str(tmp_path / "kept")
    said = simulate(tmp_path, site, "--policies", policies, "--nodes", farm, "--json", "--data", kept)
    assert said.code == 0, said
    found = said.document
    assert found["policies"]["order"] == "x-largest"
    assert found["policies"]["parameters"] == {"backfill": {"millicores": 3000}}
    assert (found["jobs"], found["average_wait_s"]) == (3, 0.0)  # 8 cores without n1: room for 3 + 4 + 1
    env = environment(tmp_path / "kept") | {"PYTHONPATH": f"{ROOT}:{site}"}
    for number, nodes in ((1, [["n3", 3]]), (2, [["n3", 1], ["n2", 3]]), (3, [["n2", 1]])):
        show = [sys.executable, "-m", "adapters.cli", "show", f"job-00000000{number}", "--json"]
        done = subprocess.run(show, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        assert [attempt["nodes"] for attempt in json.loads(done.stdout)["attempts"]] == [nodes]


def test_names_of_plugins_work_on_the_command_line_too(tmp_path: Path) -> None:
    site = distribution(tmp_path / "site", SOURCES, entries())
    said = simulate(tmp_path, site, "--order", "x-largest", "--backfill", "x-large", "--json")
    assert (said.code, said.document["policies"]["backfill"]) == (0, "x-large")
    said = simulate(tmp_path, tmp_path / "nowhere", "--order", "x-largest")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "there is no order policy 'x-largest'; known are" in said.err


def test_a_plugin_may_be_a_function_that_registers(tmp_path: Path) -> None:
    body = textwrap.indent(ORDER, "    ")
    site = distribution(tmp_path / "site", {"all": f"def policies():\n{body}"}, {"all": "ourpolicies.all:policies"})
    said = simulate(tmp_path, site, "--order", "x-largest", "--json")
    assert (said.code, said.err.count("warning")) == (0, 0)


@pytest.mark.parametrize(
    ("module", "value", "problem"),
    [
        ("raise ValueError('no licence')", "ourpolicies.broken", "ValueError: no licence"),
        ("", "ourpolicies.nosuch", "ModuleNotFoundError: No module named 'ourpolicies.nosuch'"),
        ("", "ourpolicies.broken:nosuch", "AttributeError:"),
        ("number = 7", "ourpolicies.broken:number", "it is neither a module nor a function"),
        ("def f(a): pass", "ourpolicies.broken:f", "TypeError:"),
        ("import sys; sys.exit(1)", "ourpolicies.broken", "SystemExit: 1"),
        (ORDER.replace('"order", "x', '"orders", "x'), "ourpolicies.broken", "PolicyInvalid:"),
        (ORDER.replace('"x-largest"', '"fifo"'), "ourpolicies.broken", "PolicyInvalid:"),
        (
            ORDER.replace("x-l", "y-l").replace("    moves", "    never"),
            "ourpolicies.broken",
            "order policy 'y-largest' has",
        ),
    ],
)
def test_a_broken_one_is_named_in_one_line_and_the_others_work(
    tmp_path: Path, module: str, value: str, problem: str
) -> None:
    site = distribution(tmp_path / "site", {"broken": module}, {"broken": value})
    distribution(site / "other", {}, {}, "unused")
    good = distribution(tmp_path / "good", {"order": ORDER}, {"order": "goodpolicies.order"}, "goodpolicies")
    said = simulate(tmp_path, Path(f"{site}:{good}"), "--order", "x-largest", "--json")
    assert said.code == 0, said
    warning, speed = said.err.splitlines()
    assert warning.startswith(f"milepost: warning: plug-in 'broken' of ourpolicies ({value}) is left out: {problem}")
    assert speed.startswith("simulated 3 jobs")


def test_each_is_loaded_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = "import builtins\nbuiltins.counted = getattr(builtins, 'counted', 0) + 1\nraise ValueError('counted')\n"
    monkeypatch.syspath_prepend(
        str(distribution(tmp_path, {"once": counts}, {"once": "oncepolicies.once"}, "oncepolicies"))
    )
    warned: list[str] = []
    assert "once" not in plugins.load_plugins(warned.append) + plugins.load_plugins(warned.append)
    assert len([text for text in warned if "'once'" in text]) == 1
