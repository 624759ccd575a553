"""Help, completion, terminals, and what is said when nobody foresaw what went wrong."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import BashComplete

from adapters.cli import cli, main
from adapters.cli.catalog import ALIASES, ENTRIES, SECTIONS
from adapters.cli.exits import MEANINGS
from adapters.cli.frame import carry_out
from tests.adapters.cli_runner import ROOT, Cli, environment, run

# -- help and completion -----------------------------------------------------------------------------------------


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All commands, those of groups too."""
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself_with_examples(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: milepost {' '.join(words)}" in text
    assert "Examples:\n" in text
    assert "milepost " + " ".join(words) in text.split("Examples:")[1]
    assert "--json" in text
    assert ("--data DIR" in text) == (words != ("completion",))


def test_the_list_of_commands_names_all_and_what_exit_codes_mean(milepost: Cli) -> None:
    text = milepost("--help").out
    for title, entries in SECTIONS.items():
        assert f"{title}:\n" in text
        assert all(f"  {name} " in text for name in entries)
    for code, meaning in MEANINGS.items():
        assert f"{code}  " in text
        assert meaning.split(",")[0] in text
    assert not set(ALIASES) & set(ENTRIES)
    assert "milepost " in milepost("--version").out
    assert main([]) == 2


def test_help_loads_nothing_that_is_slow() -> None:
    slow = ("litestar", "sqlalchemy", "eventsourcing", "rich", "pydantic", "uvicorn", "asyncio", "importlib.metadata")
    program = (
        f"import sys\nfrom adapters.cli import main\nmain(['--help'])\nassert not {{*{slow!r}}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def completions(words: Sequence[str], incomplete: str) -> dict[str, str]:
    """What the shell is offered."""
    shell = BashComplete(cli, {}, "milepost", "_MILEPOST_COMPLETE")
    return {item.value: item.help or item.type for item in shell.get_completions(list(words), incomplete)}


def test_the_shell_completes_commands_options_words_and_ids(milepost: Cli, shot: str) -> None:
    assert completions([], "re") == {
        name: ENTRIES[name].brief for name in ("resume", "requeue", "retry", "reserve", "rebuild")
    }  # fmt: skip
    assert "--deadline" in completions(["submit"], "--de")
    assert completions(["submit", "--priority"], "h").keys() == {"high"}
    assert completions(["prioritize"], "c").keys() == {"critical"}
    assert completions(["prioritize", "high"], "job-") == {shot: "shot"}
    assert completions(["hold"], "job-") == {shot: "shot"}
    assert completions(["drain"], "") == {"node-1": "offline"}
    assert {shot, "node-1", "default"} <= completions(["show"], "").keys()
    assert completions(["submit", "--client"], "d").keys() == {"default"}
    milepost("cancel", shot)
    assert completions(["hold"], "job-") == {}
    assert completions(["retry"], "job-") == {shot: "shot"}
    assert completions(["hold", "--data", "/nosuch"], "job-") == {}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(milepost: Cli, shell: str) -> None:
    script = milepost("completion", shell).out
    assert "_MILEPOST_COMPLETE" in script
    assert milepost.json("completion", shell) == {"shell": shell, "script": script.removesuffix("\n")}


# -- what nobody foresaw -----------------------------------------------------------------------------------------


@click.group()
def broken() -> None:
    """A program with a mistake in it."""


@broken.command()
def divide() -> None:
    """Fails."""
    _ = 1 / 0


@broken.command()
def interrupt() -> None:
    """As if somebody pressed Ctrl-C."""
    raise KeyboardInterrupt


def test_a_mistake_of_ours_is_one_line_unless_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert carry_out(broken, ["divide"]) == 70
    err = capsys.readouterr().err
    assert (
        err
        == "milepost: a mistake in Milepost itself: ZeroDivisionError: division by zero; MILEPOST_DEBUG=1 shows where\n"
    )
    monkeypatch.setenv("MILEPOST_DEBUG", "1")
    assert carry_out(broken, ["divide"]) == 70
    assert "Traceback" in capsys.readouterr().err
    assert carry_out(broken, ["interrupt"]) == 130


def test_a_reader_who_has_enough_is_no_error(milepost: Cli, shot: str) -> None:
    for _ in range(20):
        milepost("hold", shot)
        milepost("unhold", shot)
    pipe = f"{sys.executable} -m adapters.cli events --json | head -n 1"
    shell = ["bash", "-o", "pipefail", "-c", pipe]
    env = environment(milepost.data_dir)
    done = subprocess.run(shell, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_a_terminal_gets_colours_and_what_fits(milepost: Cli, shot: str, tmp_path: Path) -> None:
    script = tmp_path / "typescript"
    env = {**environment(milepost.data_dir), "TERM": "xterm-256color", "COLUMNS": "60"}
    command = f"{sys.executable} -m adapters.cli queue"
    subprocess.run(["script", "-qec", command, str(script)], env=env, cwd=ROOT, check=True, capture_output=True)
    lines = script.read_text(errors="replace").splitlines()
    assert len([line for line in lines if shot in line]) == 1
    assert "\x1b[" in "".join(lines)
    assert "PRIORITY" not in "".join(lines)


def test_the_program_runs_as_a_process_too(milepost: Cli, shot: str) -> None:
    said = run(milepost.data_dir, "queue", "--json")
    assert (said.code, said.err) == (0, "")
    rows: list[Any] = said.document["rows"]
    assert [row["job_id"] for row in rows] == [shot]
