"""What is not loaded before somebody needs it, and what goes when nobody does."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from tests.facades.render_farm_manager.farms import farm, job, node

ROOT = Path(__file__).parents[3]
RULES = """
import sys
from render_farm_manager.core.rules import lending, tariffs
assert "domain.policies.tariffs" not in sys.modules
assert tariffs.is_night(3)
assert "domain.policies" not in sys.modules
from domain.policies import tariffs as the_same
assert the_same.is_night is tariffs.is_night
assert lending.deal([1.0], 1) == [[0]]
"""
CYCLE = """
import sys
from tests.facades.render_farm_manager.farms import farm, job, node
farm(node(), job()).run_scheduling_cycle()
assert "adapters.facades.bridge.render" not in sys.modules
"""


@pytest.mark.parametrize("program", [RULES, CYCLE])
def test_a_farm_that_nobody_looks_into_loads_no_log(program: str) -> None:
    paths = [str(ROOT), str(ROOT / "adapters" / "facades")]
    code = f"import sys; sys.path[:0] = {paths!r}\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_a_manager_goes_when_nobody_holds_it() -> None:
    gc.disable()
    try:
        manager = farm(node(), job())
        manager.run_scheduling_cycle()
        seen = weakref.ref(manager)
        del manager
        assert seen() is None
    finally:
        gc.enable()
