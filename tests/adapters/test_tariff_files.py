"""Tariffs as files: what is written is what is read, TOML, JSON and CSV say the same, and mistakes are named."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.policies import dump_policies, load_policies
from adapters.importers.tariffs import dump_tariff, load_tariff, read_tariff, table_of
from domain.errors import BadInput
from domain.policies import Policies
from domain.tariff import PriceWindow, Tariff

TOML = """
price = 0.30
currency = "EUR"
utc_offset = "+01:00"
[[windows]]
from = "22:00"
until = "06:00"
price = 0.12
days = ["mon", "sat"]
[[windows]]
from = "12:00"
until = "24:00"
price = 0.4
"""
CSV = """from,until,price,days,currency,utc_offset
,,0.30,,EUR,+01:00
22:00,06:00,0.12,mon|sat,,
12:00,24:00,0.4,,EUR,
"""
EXPECTED = Tariff(0.30, (PriceWindow(1_320, 360, 0.12, (0, 5)), PriceWindow(720, 1_440, 0.4)), 60, "EUR")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_toml_json_and_csv_say_the_same(tmp_path: Path) -> None:
    assert load_tariff(write(tmp_path, "a.toml", TOML)) == EXPECTED
    assert load_tariff(write(tmp_path, "a.csv", CSV)) == EXPECTED
    assert load_tariff(write(tmp_path, "a.json", json.dumps(table_of(EXPECTED)))) == EXPECTED
    assert load_tariff(write(tmp_path, "b.json", json.dumps({"tariff": table_of(EXPECTED)}))) == EXPECTED
    inside = "[tariff]\n" + TOML.replace("[[windows", "[[tariff.windows")
    assert load_policies(write(tmp_path, "p.toml", inside)) == Policies(tariff=EXPECTED)


@pytest.mark.parametrize(
    ("said", "days"),
    [(["mon-fri"], (0, 1, 2, 3, 4)), ("sat, Sunday", (5, 6)), (["fri-mon"], (4, 5, 6, 0)), ([6, 6], (6,)), ([], ())],
)  # fmt: skip
def test_days_are_words_ranges_and_numbers(said: object, days: tuple[int, ...]) -> None:
    window = {"from": "00:00", "until": "06:00", "price": 1, "days": said}
    assert read_tariff({"windows": [window]}).windows[0].days == days


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pric = 1", "there is no key 'pric'; did you mean 'price'?"),
        ("", "says nothing; a tariff that costs nothing says `price = 0`"),
        ("zzz = 1", "there is no key 'zzz'; known are price, currency, utc_offset, windows"),
        ("price = -1", "price: -1 is no price of 0 or more"),
        ("price = 'free'", "price: 'free' is no price"),
        ("price = true", "price: True is no price"),
        ("price = inf", "price: inf is no price"),
        ("currency = 7", "currency: expected text such as 'EUR', got 7"),
        ("utc_offset = '1'", "utc_offset: '1' is no distance from UTC such as +01:00"),
        ("utc_offset = '+01:75'", "utc_offset: '+01:75' is no distance"),
        ("utc_offset = '+01:00'\nutc_offset_min = 60", "utc_offset: said twice"),
        ("windows = 1", "windows: not a list of windows"),
        ("windows = [1]", "windows 1: not a table of keys and values"),
        ("[[windows]]\nfrom = '06:00'", "windows 1: until is missing; needed are from, until, price"),
        ("[[windows]]\nform = '06:00'", "windows 1: there is no key 'form'; did you mean 'from'?"),
        ("[[windows]]\nfrom = '6'\nuntil = '7'\nprice = 1", "windows 1: from: '6' is no time of day such as 06:00"),
        ("[[windows]]\nfrom = '06:00'\nuntil = '25:00'\nprice = 1", "windows 1: until: '25:00' is no time of day"),
        ("[[windows]]\nfrom = '06:00'\nuntil = '06:00'\nprice = 1", "windows 1: until: the window ends when it begins"),
        ("[[windows]]\nfrom = '06:00'\nuntil = '07:00'\nprice = 1\ndays = ['mo']", "days: 'mo' is no day; known"),
        ("[[windows]]\nfrom = '06:00'\nuntil = '07:00'\nprice = 1\ndays = 4", "days: 4 is no list of days"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_the_file_and_the_key(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_tariff(write(tmp_path, "tariff.toml", text))
    assert f"{tmp_path}/tariff.toml: " in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("from,until\n", "the first line names no column 'price'"),
        ("from,until,price,colour\n", "there is no column 'colour'"),
        ("from,until,price\n", "tariff.csv: there is no price in it"),
        ("from,until,price\n06:00,,1\n", "line 2: until is missing"),
        ("from,until,price\n06:00,07:00,\n", "line 2: price is missing"),
        ("from,until,price\n,,x\n", "line 2: price: 'x' is no price"),
        ("from,until,price\n,,1\n,,2\n", "line 3: price: 2.0 here, 1.0 before"),
        ("from,until,price,days\n,,1,mon\n", "line 2: days: the price outside the windows holds on every day"),
        ("from,until,price,utc_offset\n,,1,1h\n", "tariff.csv: utc_offset: '1h' is no distance"),
    ],
)
def test_mistakes_in_a_table_are_named_with_their_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_tariff(write(tmp_path, "tariff.csv", text))
    assert problem in str(caught.value)


def test_a_tariff_in_a_policies_file_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"p\.toml: tariff\.windows 1: from is missing"):
        load_policies(write(tmp_path, "p.toml", "[[tariff.windows]]\nuntil = '06:00'"))


minutes = st.integers(0, 1_440)
prices = st.floats(0, 1e6)
windows = st.builds(
    PriceWindow, minutes, minutes, prices, st.lists(st.integers(0, 6), unique=True).map(tuple)
).filter(lambda window: window.from_min != window.until_min)  # fmt: skip
tariffs = st.builds(
    Tariff,
    prices,
    st.lists(windows, max_size=4).map(tuple),
    st.integers(-1_440, 1_440),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)


@given(tariffs, st.sampled_from([".toml", ".json"]))
def test_a_tariff_comes_back_from_a_file_as_it_was(tariff: Tariff, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tariff{suffix}"
        dump_tariff(tariff, path)
        assert load_tariff(path) == tariff
        whole = Path(folder) / f"policies{suffix}"
        dump_policies(Policies(tariff=tariff), whole)
        assert load_policies(whole) == Policies(tariff=tariff)
