"""What the command line refuses: in which words, with which exit code, and that nothing has changed."""

import os
import sqlite3
from pathlib import Path

import eventsourcing.persistence
import pytest
import sqlalchemy.exc

from adapters.cli import exits
from adapters.store.sqlite import open_log
from adapters.web.failures import as_domain_error
from tests.adapters.cli_runner import TEMPLATE, Cli, make_farm

HUGE_BYTES = 100 << 20
GREEDY = """\
specificationVersion: jobtemplate-2023-09
name: Greedy
steps:
  - name: Bake
    hostRequirements: {attributes: [{name: attr.worker.os.family, anyOf: [windows, macos]}]}
    script: {actions: {onRun: {command: "true"}}}
"""


# -- bad input ---------------------------------------------------------------------------------------------------

BAD = [
    ("an unknown id", "show nosuch"),
    ("an unknown id to hold", "hold nosuch"),
    ("an unknown id to read", "logs nosuch"),
    ("an unknown id to explain", "explain job-nosuch"),
    ("an unknown id to tell of", "story nosuch"),
    ("an unknown id to wait for", "wait nosuch"),
    ("an unknown node", "drain nosuch"),
    ("an unknown workflow", "cancel wf-nosuch"),
    ("an unknown client", "submit --client nosuch -- true"),
    ("an unknown client to change", "client set nosuch --limit 5"),
    ("an unknown predecessor", "submit --after nosuch -- true"),
    ("an empty id", "hold ''"),
    ("bytes that are no text", "submit -- echo \udcff"),
    ("an option before the command", "--data x queue"),
    ("an id that leads elsewhere", "show ../../etc/passwd"),
    ("no command", "submit"),
    ("an unknown option", "submit --nosuch 1 -- true"),
    ("an option of the command before the dashes", "submit ls -l"),
    ("a requirement that no node could meet", "submit --cpus 64 -- true"),
    ("an attribute that no node has", "submit --attr os=plan9 -- true"),
    ("a licence that nobody has", "submit --license nosuch=1 -- true"),
    ("negative processors", "submit --cpus -1 -- true"),
    ("negative memory", "submit --memory -1G -- true"),
    ("negative GPUs", "submit --gpus -1 -- true"),
    ("negative retries", "submit --retries -1 -- true"),
    ("a negative walltime", "submit --walltime -5s -- true"),
    ("a walltime of nothing", "submit --walltime 0s -- true"),
    ("a size without unit", "submit --memory 4 -- true"),
    ("a bad size", "submit --memory 4X -- true"),
    ("a bad duration", "submit --backoff soon -- true"),
    ("a bad deadline", "submit --deadline never -- true"),
    ("a bad array", "submit --array 1-x -- true"),
    ("an array that runs backwards", "submit --array 9-1 -- true"),
    ("an array without end", "submit --array 1-9999999999 -- true"),
    ("a bad priority", "submit --priority urgent -- true"),
    ("a bad licence", "submit --license x=-1 -- true"),
    ("the same licence twice", "submit --license x=1 --license x=2 -- true"),
    ("a bad variable", "submit --env =x -- true"),
    ("a variable that is not there", "submit --env NO_SUCH_VARIABLE -- true"),
    ("two kinds of gang", "submit --nodes 2 --slots 2 -- true"),
    ("a gang of nobody", "submit --nodes 0 -- true"),
    ("a bad id of one's own", "submit --id mine -- true"),
    ("an id with a slash", "submit --id job-a/b -- true"),
    ("a template parameter for a command", "submit -p A=b -- true"),
    ("a template that is missing", "submit nosuch.yaml"),
    ("a template with a strange ending", "submit good.txt"),
    ("a template with a command behind it", "submit good.yaml -- foo"),
    ("a parameter twice", "submit good.yaml -p Count=1 -p Count=2"),
    ("a variable twice", "submit --env A=1 --env A=2 -- true"),
    ("a template that asks for what no node has", "submit greedy.yaml"),
    ("a name as long as a page", f"submit --name {'x' * 201} -- true"),
    ("a template that is a folder", "submit folder.yaml"),
    ("a template that is not YAML", "submit broken.yaml"),
    ("a template that is not one", "submit strange.yaml"),
    ("a template of 100 MB", "submit huge.yaml"),
    ("a template of binary garbage", "submit garbage.yaml"),
    ("a template and a command", "submit --template good.yaml -- true"),
    ("a parameter that the template does not know", "submit good.yaml -p Nosuch=1"),
    ("a parameter of the wrong kind", "submit good.yaml -p Count=many"),
    ("processors for a template", "submit good.yaml --cpus 2"),
    ("a workflow id that is none", "submit good.yaml --id job-x"),
    ("a bad moment", "queue --at yesterday"),
    ("a position that is none", "queue --at @x"),
    ("a bad status", "queue --status lost"),
    ("a negative limit", "queue --limit -1"),
    ("an unknown topic", "events --topic nosuch"),
    ("an unknown topic in the audit", "audit --topic nosuch"),
    ("an unknown client to list", "queue --client nosuch"),
    ("a bad level", "audit --level loud"),
    ("a client's share beyond all", "client add x --guarantee 101"),
    ("a guarantee above the limit", "client add x --guarantee 60 --limit 50"),
    ("a client with a bad name", "client add a/b"),
    ("a priority alone", "prioritize high"),
    ("no priority at all", "prioritize job-1 job-2"),
    ("a bad set of tasks", "requeue job-1 --tasks all"),
    ("an unknown command", "submitt"),
    ("an unknown shell", "completion tcsh"),
    ("settings that are there already", "init"),
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a farm and with files that are not as they should be; all cases share it, since none changes it."""
    folder = tmp_path_factory.mktemp("workshop")
    make_farm(folder / "farm")
    (folder / "farm" / "milepost.toml").write_text("")
    (folder / "folder.yaml").mkdir()
    (folder / "broken.yaml").write_text("a: [b: {c")
    (folder / "strange.yaml").write_text("name: something else")
    (folder / "good.yaml").write_text(TEMPLATE)
    (folder / "good.txt").write_text(TEMPLATE)
    (folder / "greedy.yaml").write_text(GREEDY)
    (folder / "garbage.yaml").write_bytes(bytes(range(256)) * 8)
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(HUGE_BYTES)
    return folder


@pytest.mark.parametrize("line", [line for _, line in BAD], ids=[name for name, _ in BAD])
def test_bad_input_is_one_line_and_changes_nothing(
    workshop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(workshop)
    milepost = Cli(workshop / "farm", capsys, monkeypatch)
    words = [word.strip("'") for word in line.split()]
    before = milepost.position()
    said = milepost(*words, code=2)
    assert milepost.position() == before
    assert said.out == ""
    assert said.err.startswith("milepost: ")
    assert said.err.count("\n") == 1, said.err
    assert len(said.err) > len("milepost: x\n")
    assert "Traceback" not in said.err


def test_an_error_with_json_is_an_object_too(milepost: Cli) -> None:
    said = milepost("show", "nosuch", "--json", code=2)
    error = said.document["error"]
    assert error["code"] == "not-found"
    assert error["message"] in said.err
    assert milepost("hold", "--json", code=2).document["error"]["code"] == "usage"
    assert milepost("queue", "--json", "--data", "/dev/null/x", code=5).document["error"]["code"] == "unavailable"


def test_what_names_a_mistake_says_what_would_help(milepost: Cli) -> None:
    assert "did you mean 'submit'?" in milepost("submitt", code=2).err
    assert "stands after `--`" in milepost("submit", "ls", "-l", code=2).err
    assert "milepost client add" in milepost("submit", "--client", "x", "--", "true", code=2).err
    assert "milepost queue --all" in milepost("hold", "nosuch", code=2).err


def test_an_option_that_others_have_for_a_reason_is_told_ours(milepost: Cli) -> None:
    assert "did you mean '--why'?" in milepost("hold", "x", "--reason", "y", code=2).err
    assert "--why" not in milepost("queue", "--reason", "y", code=2).err


def test_a_template_that_asks_for_what_no_node_has_is_named_with_its_step(
    workshop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop)
    said = Cli(workshop / "farm", capsys, monkeypatch)("submit", "greedy.yaml", code=2)
    assert said.err == (
        "milepost: greedy.yaml: no node could ever run this: job 'Bake': it needs a node with worker.os.family "
        "windows or macos; no node has that attribute; they have none\n"
    )
    hint = Cli(workshop / "farm", capsys, monkeypatch)("submit", "good.txt", code=2).err
    assert "--template good.txt" in hint


# -- rules and the store -----------------------------------------------------------------------------------------


def test_what_a_rule_forbids_has_an_exit_code_of_its_own(milepost: Cli, shot: str) -> None:
    milepost("cancel", shot)
    assert milepost("cancel", shot).out.endswith("cancelled (as before)\n")
    before = milepost.position()
    assert "has ended (cancelled)" in milepost("hold", shot, code=3).err
    assert "waits for no other job" in milepost("bypass", milepost.submit("--", "true"), code=3).err
    assert milepost.position() > before  # the refusal is on record
    milepost("client", "add", "lab", "--guarantee", "60")
    assert "110 % of the farm (lab has 60 %)" in milepost("client", "add", "show", "--guarantee", "50", code=3).err
    milepost("client", "suspend", "lab", "--why", "invoice open")
    assert "is suspended" in milepost("submit", "--client", "lab", "--", "true", code=3).err


def test_a_store_that_cannot_be_used_is_said_in_one_line(milepost: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    garbage = tmp_path / "garbage"
    garbage.mkdir()
    (garbage / "milepost.db").write_bytes(b"no database at all" * 1_000)
    for data_dir, code in (("nosuch", 5), ("file", 5), ("file/below", 5), ("/proc/farm", 5), ("garbage", 2)):
        for words in (["queue"], ["submit", "--", "true"], ["rebuild"], ["hold", "job-1"]):
            said = milepost(
                words[0], "--data", data_dir, *words[1:], code=code if data_dir != "nosuch" else _made(words)
            )
            assert said.code == 0 or said.err.count("\n") == 1
    lock = open_log(milepost.data_dir)
    try:
        assert f"(pid {os.getpid()})" in milepost("submit", "--", "true", code=5).err
        assert milepost.json("queue")["rows"] == []  # reading goes on
    finally:
        lock.close()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        sqlalchemy.exc.OperationalError("INSERT INTO jobs VALUES (?)", (1,), sqlite3.OperationalError("disk is full")),
        sqlalchemy.exc.InvalidRequestError("the disk is full", code="8s2b"),
        eventsourcing.persistence.OperationalError("disk is full"),
    ],
)
def test_a_failing_database_is_one_line_without_statement_or_link(error: Exception) -> None:
    failure = exits.failure_of(error)
    assert failure.exit_code == exits.UNAVAILABLE
    assert failure.message.startswith("the store failed: ")
    assert "disk is full" in failure.message
    for said in (failure.message, as_domain_error(error).message):
        assert not [word for word in ("http", "INSERT", "Background", "\n") if word in said], said
    assert exits.failure_of(as_domain_error(error)).exit_code == exits.UNAVAILABLE


def _made(words: list[str]) -> int:
    """Submitting makes a store where there is none; the later commands then find it."""
    return {"queue": 5, "submit": 0, "rebuild": 0, "hold": 2}[words[0]]


def test_waiting_without_a_server_is_refused_before_anything_is_entered(milepost: Cli, shot: str) -> None:
    before = milepost.position()
    assert "milepost serve" in milepost("submit", "--wait", "--", "true", code=5).err
    assert milepost.position() == before
    assert "milepost serve" in milepost("wait", shot, code=5).err
    milepost("cancel", shot)
    assert "cancelled" in milepost("wait", shot, code=1).out
