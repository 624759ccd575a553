"""What people write on the command line, and what is made of it."""

from contextlib import suppress

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from adapters.cli import values as v
from adapters.cli.render import Cell, Column, ago, bar, clock, largest_unit, moment, table
from adapters.cli.submitting import MAX_NAME_CHARS, name_of
from adapters.cli.text import MAX_LINE_CHARS, one_line, plain
from domain.job.values import Priority
from domain.resources import AttributeNeed

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "amount"), [("2", 2_000), ("0.5", 500), ("0", 0), ("0.001", 1), ("1e2", 100_000), (" 4 ", 4_000)]
)
def test_processors_are_thousandths(text: str, amount: int) -> None:
    assert v.millicores(text) == amount


@pytest.mark.parametrize("text", ["-1", "x", "", "nan", "inf", "1.2345", "1e30", "2 cores"])
def test_what_is_no_number_of_processors(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of processors"):
        v.millicores(text)


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512M", 512), ("4G", 4_096), ("4g", 4_096), ("4GiB", 4_096), ("4GB", 4_096), ("1.5T", 1_572_864), ("1K", 1),
        ("0", 0), ("0.1M", 1), ("2 G", 2_048),
    ],
)  # fmt: skip
def test_sizes_are_mebibytes_rounded_up(text: str, mib: int) -> None:
    assert v.size_mib(text) == mib


@pytest.mark.parametrize(
    ("text", "said"),
    [("-1G", "not a size"), ("4X", "not a size"), ("", "not a size"), ("4", "needs a unit"), ("9999999T", "more than")],
)
def test_what_is_no_size(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        v.size_mib(text)


TYPES = (
    v.MILLICORES, v.SIZE, v.NAMED_AMOUNT, v.ATTRIBUTE, v.PAIR, v.VARIABLE, v.TASKS, v.PRIORITY, v.DURATION, v.DEADLINE,
    v.whole(0, 9),
)  # fmt: skip


@given(st.sampled_from(TYPES), st.text(max_size=30))
def test_any_text_is_read_or_refused_as_a_usage_error(kind: v.Written, text: str) -> None:
    with suppress(click.BadParameter):
        kind.convert(text, None, None)


def test_named_amounts_attributes_pairs_and_variables() -> None:
    assert v.named_amount("houdini=2") == ("houdini", 2)
    assert v.named_amount("houdini") == ("houdini", 1)
    assert v.attribute("os=linux, macos") == AttributeNeed("os", any_of=("linux", "macos"))
    assert v.pair("Name=a=b") == ("Name", "a=b")
    assert v.variable("HOME") == ("HOME", None)
    assert v.variable("HOME=") == ("HOME", "")
    for read, text in ((v.named_amount, "a=0"), (v.named_amount, "a=-1"), (v.attribute, "os="), (v.pair, "Name")):
        with pytest.raises(ValueError, match="is not"):
            read(text)


def test_whole_numbers_lie_within_their_bounds() -> None:
    assert v.whole(1, 9).convert("9", None, None) == 9
    for text, said in (("0", "between 1 and 9"), ("9" * 5_000, "between 1 and 9"), ("1.5", "not a whole number")):
        with pytest.raises(click.BadParameter, match=said):
            v.whole(1, 9).convert(text, None, None)


def test_priorities_are_words() -> None:
    assert v.priority("HIGH") is Priority.HIGH
    with pytest.raises(ValueError, match="there are low, medium, high, critical"):
        v.priority("urgent")


def test_a_wrong_value_is_a_usage_error_that_names_it() -> None:
    with pytest.raises(click.BadParameter, match="'12' is not a duration"):
        v.DURATION.convert("12", None, None)
    with pytest.raises(click.BadParameter, match="runs backwards"):
        v.TASKS.convert("9-1", None, None)


# -- text --------------------------------------------------------------------------------------------------------


@given(st.text())
def test_an_error_is_always_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= MAX_LINE_CHARS


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0")), min_size=1, max_size=4))
def test_a_command_gives_a_short_printable_name(words: list[str]) -> None:
    name = name_of(tuple(words))
    assert name.isprintable()
    assert len(name) <= MAX_NAME_CHARS


def test_names_of_commands_leave_the_folder_out() -> None:
    assert name_of(("/usr/bin/python3", "render.py")) == "python3 render.py"
    assert name_of(("echo", "a b")) == "echo 'a b'"
    assert len(name_of(("x" * 200,))) == MAX_NAME_CHARS


def test_control_characters_never_reach_the_terminal() -> None:
    assert plain("a\x1b[31mred\nb") == "a·[31mred b"
    assert plain("Größe 42 µs") == "Größe 42 µs"


def test_times_near_and_far() -> None:
    assert ago(None, NOW) == ""
    assert ago(NOW, NOW) == "now"
    assert ago(NOW - 12_345, NOW) == "12 s ago"
    assert ago(NOW + 7_200_000, NOW) == "in 2 h"
    assert largest_unit(3 * 86_400_000 + 5) == "3 d"
    assert moment(NOW - 60_000, NOW) == f"{clock(NOW - 60_000)} (1 min ago)"


def test_bars_are_as_full_as_the_percentage() -> None:
    assert bar(0) == "░░░░░░░░░░   0 %"
    assert bar(55) == "█████░░░░░  55 %"
    assert bar(100) == "██████████ 100 %"


COLUMNS = [
    Column("JOB"),
    Column("NAME", flexible=True, least=6),
    Column("CLIENT", drop=2),
    Column("DONE", right=True, drop=1),
]
ROWS = [("job-1", "a long name indeed", "default", Cell("50 %", "green"))]


def shown(width: int) -> list[str]:
    return [str(column.header) for column in table(COLUMNS, ROWS, width).columns]


def test_a_narrow_terminal_leaves_out_columns_before_it_cuts_ids() -> None:
    assert shown(80) == ["JOB", "NAME", "CLIENT", "DONE"]
    assert shown(25) == ["JOB", "NAME", "DONE"]
    assert shown(10) == ["JOB", "NAME"]
    narrow = table(COLUMNS, ROWS, 25)
    assert [column.width for column in narrow.columns] == [5, 10, 4]


def test_a_column_without_text_is_left_out() -> None:
    assert [str(c.header) for c in table(COLUMNS, [("job-1", "x", "", "")], 80).columns] == ["JOB", "NAME"]


def test_what_does_not_fit_goes_on_below_where_nothing_may_be_lost() -> None:
    columns = [Column("JOB"), Column("WAITS FOR", flexible=True, least=10, wraps=True)]
    made = table(columns, [("job-1", "needs 4 cores; node-3 comes closest")], 20)
    with (screen := Console(width=20)).capture() as captured:
        screen.print(made)
    lines = [line.split("  ", 1)[-1].strip() for line in captured.get().splitlines()[1:]]
    assert " ".join(lines) == "needs 4 cores; node-3 comes closest"
