"""Placements choose as plain loops over all nodes would, with scores between 0 and 1; numbers are worked by hand."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import domain.policies.builtin  # noqa: F401  (registers the policies that stand beside a placement in a set)
from domain.errors import PolicyInvalid
from domain.farm import Farm
from domain.indices.nodeindex import bits
from domain.indices.performance import Performance, node_class
from domain.job.values import Job
from domain.policies import FAMILIES, Context, Policies, made
from domain.policies.placement import Figures, Power, WorstFit, power_figures
from domain.resources import NOTHING
from tests.builders import NOW, farm, job, need, node, resources

FAST, SLOW, NEW = {"class": ("fast",)}, {"class": ("slow",)}, {"class": ("new",)}
NAMES = ("best-fit", "worst-fit", "spread", "first-fit", "specialized", "power", "weighted")


class Question:
    """One placement asked about one job on one farm."""

    def __init__(self, name: str, on: Farm, each: Job, **parameters: Any) -> None:
        self.index, self.job = on.index, each
        self.context = Context(on, made(Policies(placement=name, parameters={"placement": parameters})), NOW)
        self.placement = self.context.made.placement
        self.fitting = on.index.fitting(each.spec.requirement)

    def choice(self, among: int = -1) -> str:
        """The id of the node chosen."""
        return self.index.ids[self.placement.choose(self.job, self.fitting & among, self.index, self.context)]

    def score(self, node_id: str) -> float:
        return self.placement.score(self.job, self.index.numbers[node_id], self.index, self.context)


def experienced(on: Farm, *runs: tuple[str, str, int]) -> Farm:
    """The same farm, where (class of node, kind, run time in ms) have been recorded."""
    on.performance = Performance()
    for name, kind, run_ms in runs:
        on.performance.record("show", kind, name, run_ms)
    return on


def test_every_built_in_placement_works_without_parameters() -> None:
    assert set(NAMES) <= set(FAMILIES["placement"])
    on = experienced(farm([node(cores=4)]))
    for name in NAMES:
        assert Question(name, on, job(cores=3)).choice() == "n1"
        assert 0 <= Question(name, on, job(cores=3)).score("n1") <= 1


# -- fit ---------------------------------------------------------------------------------------------------------------


def test_best_fit_scores_how_full_a_node_will_be() -> None:
    on = farm([node(cores=4), node(cores=0)])
    assert Question("best-fit", on, job(cores=1)).score("n1") == 0.25
    assert Question("best-fit", on, job(cores=4)).score("n1") == 1.0
    assert Question("best-fit", on, job(cores=0)).score("n2") == 1.0  # no cores at all


@pytest.mark.parametrize("name", ["worst-fit", "spread"])
def test_load_spreads_over_the_roomiest_nodes(name: str) -> None:
    on = farm([node(cores=16, gpus=4), node(cores=4), node(cores=8), node(cores=8)])
    question = Question(name, on, job(cores=2))
    assert question.choice() == "n3"  # n1 has more cores, and GPUs that somebody else may need
    assert question.choice(0b0001) == "n1"
    assert question.score("n3") == 0.75  # 6 of 8 cores stay free
    on.index.allocate(2, resources(2))
    assert question.choice() == "n4"
    assert Question(name, on, job(cores=0)).score("n2") == 1.0


def test_a_job_with_gpus_goes_where_most_gpus_are_free() -> None:
    on = farm([node(cores=16, gpus=2), node(cores=4, gpus=4), node(cores=8, gpus=4)])
    question = Question("worst-fit", on, job(requirement=need(1, gpus=1)))
    assert question.choice() == "n3"
    assert question.score("n3") == 0.75  # 3 of 4 GPUs stay free
    assert question.score("n1") == 0.5


def test_first_fit_takes_the_node_registered_first() -> None:
    question = Question("first-fit", farm([node(cores=1), node(cores=8), node(cores=2), node(cores=2)]), job(cores=2))
    assert question.choice() == "n2"
    assert [question.score(f"n{k}") for k in (1, 2, 3, 4)] == [1.0, 0.75, 0.5, 0.25]


# -- specialization ----------------------------------------------------------------------------------------------------


def test_a_job_goes_to_the_class_that_was_fastest_for_its_kind() -> None:
    on = farm([node(attributes=SLOW), node(cores=8, attributes=FAST), node(cores=9, attributes=FAST)])
    render = [("fast", "render", 100), ("fast", "render", 300), ("slow", "render", 400), ("slow", "render", 600)]
    simulate = [("fast", "simulate", 90), ("fast", "simulate", 90), ("slow", "simulate", 30), ("slow", "simulate", 30)]
    experienced(on, *render, *simulate)
    question = Question("specialized", on, job(kind="render"))
    assert question.choice() == "n2"  # the tighter of the two fast ones
    assert [question.score(n) for n in ("n1", "n2", "n3")] == [0.4, 1.0, 1.0]  # 200 ms / 500 ms
    assert question.choice(0b001) == "n1"  # it does not wait for a better one
    other = Question("specialized", on, job(kind="simulate"))
    assert (other.choice(), other.score("n2")) == ("n1", 0.3333)


def test_a_job_without_a_kind_is_known_by_its_name() -> None:
    on = experienced(farm([node(), node(attributes=FAST)]), ("fast", "shot", 5), ("fast", "shot", 5))
    assert Question("specialized", on, job(name="shot"), explore=0).choice() == "n2"


def test_while_nothing_is_known_of_a_kind_best_fit_decides() -> None:
    on = experienced(farm([node(cores=8, attributes=FAST), node(cores=4)]), ("fast", "render", 1))
    question = Question("specialized", on, job(kind="simulate"))
    assert question.choice() == "n2"
    assert question.score("n2") == 0.25  # that of best fit


def test_a_class_with_few_runs_is_tried_first_on_its_first_nodes_only() -> None:
    nodes = [node(attributes=FAST), *[node(cores=8, attributes=NEW) for _ in range(4)]]
    on = experienced(farm(nodes), ("fast", "render", 10), ("fast", "render", 10))
    question = Question("specialized", on, job(cores=1, kind="render"))
    assert question.choice() == "n2"
    assert [question.score(f"n{k}") for k in (1, 2, 3, 4)] == [1.0, 1.0, 1.0, 0.0]
    assert question.choice(0b11001) == "n1"  # the nodes for trials are taken: no further ones are spent
    assert question.choice(0b11000) == "n4"  # nothing else has room
    assert Question("specialized", on, job(kind="render"), explore=3).choice() == "n2"  # two runs of fast, none of new
    assert Question("specialized", on, job(kind="render"), explore=0).choice() == "n1"
    on.performance.record("show", "render", "new", 20)
    assert question.choice() == "n2"
    assert question.score("n4") == 0.5
    on.performance.record("show", "render", "new", 20)
    assert question.choice() == "n1"  # twice as slow


def test_nodes_that_are_closed_or_too_small_serve_for_no_trials() -> None:
    nodes = [node(cores=8, attributes=FAST), node(draining=True, attributes=NEW), node(cores=1, attributes=NEW)]
    on = farm([*nodes, node(cores=8, attributes=NEW), node(cores=8, attributes=NEW)])
    experienced(on, ("fast", "render", 10))
    question = Question("specialized", on, job(cores=2, kind="render"), explore=1)
    assert question.choice() == "n4"
    assert question.choice(0b10001) == "n1"


def test_of_two_classes_to_be_tried_the_one_with_fewer_runs_comes_first() -> None:
    on = farm([node(cores=2, attributes=FAST), node(cores=4, attributes=SLOW), node(cores=8, attributes=NEW)])
    experienced(on, ("fast", "render", 10), ("fast", "render", 10), ("slow", "render", 1))
    assert Question("specialized", on, job(kind="render")).choice() == "n3"
    assert Question("specialized", on, job(kind="render")).choice(0b011) == "n2"


def test_learning_ends_in_the_fastest_class_after_few_trials() -> None:
    """Three classes, 40 runs one after the other: at most two of them are spent on each slower class."""
    run_ms, used = {"fast": 10, "new": 20, "slow": 30}, []
    on = experienced(farm([node(attributes={"class": (name,)}) for name in ("slow", "new", "fast")]))
    for _ in range(40):
        name = Question("specialized", on, job(kind="render")).choice()
        used.append(on.nodes[name].attributes["class"][0])
        on.performance.record("show", "render", used[-1], run_ms[used[-1]])
    assert (used.count("slow"), used.count("new")) == (2, 2)
    assert set(used[6:]) == {"fast"}


# -- power -------------------------------------------------------------------------------------------------------------


def watts(idle: str, peak: str) -> dict[str, tuple[str, ...]]:
    return {"watts_idle": (idle,), "watts_peak": (peak,)}


def test_extra_power_grows_with_the_share_in_use_and_waking_costs_the_idle_power() -> None:
    figures, half = Figures(100, 300, 8_000, 4), resources(2, gpus=2)
    assert Power().extra_milliwatts(figures, resources(2)) == 50_000  # a quarter of 200 W
    assert Power().extra_milliwatts(figures, half) == 100_000  # half of the GPUs
    assert Power().extra_milliwatts(figures, half, wakes=True) == 200_000
    assert Power().extra_milliwatts(figures, NOTHING, wakes=True) == 100_000
    assert Power().extra_milliwatts(Figures(100, 50, 8_000, 0), resources(8)) == 0  # a peak is no less than idle
    unknown = Figures(None, None, 4_000, 0)
    assert Power().extra_milliwatts(unknown, resources(1)) == 10_000  # 15 - 5 W for a core
    assert Power().extra_milliwatts(unknown, resources(1), wakes=True) == 30_000  # and 5 W for each of four
    assert Power(1, 2).extra_milliwatts(unknown, resources(1), wakes=True) == 5_000


@pytest.mark.parametrize("idle", [(), ("1", "2"), ("-1",), ("1.5",), ("\N{SUPERSCRIPT TWO}",), ("many",)])
def test_what_is_not_one_whole_number_says_nothing_about_watts(idle: tuple[str, ...]) -> None:
    attributes = {"watts_idle": idle, "watts_peak": ("300",)}
    assert power_figures(attributes, resources(8, gpus=1)) == Figures(None, 300, 8_000, 1)


def test_a_node_in_use_comes_before_one_to_be_woken_and_then_fewer_watts_per_core() -> None:
    greedy, frugal = watts("100", "500"), watts("100", "300")
    on = farm([node(cores=8, attributes=each) for each in (greedy, frugal, greedy, frugal)])
    question = Question("power", on, job(cores=1))
    assert question.choice() == "n2"  # woken for 100 + 25 W
    assert question.score("n2") == 0.1667  # 125 of 150 W
    on.index.allocate(0, resources(1))
    assert question.choice() == "n1"  # 50 W, since somebody else keeps it awake
    assert question.score("n1") == 0.6667
    on.index.allocate(3, resources(1))
    assert question.choice() == "n4"  # 25 W
    assert Question("power", on, job(cores=0)).choice() == "n1"  # nothing more on either; best fit


def test_where_no_node_draws_anything_all_are_as_good() -> None:
    question = Question("power", farm([node(), node()]), job(), idle_watts_per_core=0, peak_watts_per_core=0)
    assert (question.choice(), question.score("n1"), question.score("n2")) == ("n1", 1.0, 1.0)


# -- weighted ----------------------------------------------------------------------------------------------------------


def test_the_highest_weighted_mean_wins() -> None:
    on = farm([node(cores=2, attributes=SLOW), node(cores=8, attributes=FAST)])
    experienced(on, *[(name, "render", run_ms) for name, run_ms in (("fast", 10), ("slow", 20)) for _ in range(2)])
    by_fit = Question("weighted", on, job(kind="render"), weights={"best-fit": 3.0, "specialized": 1.0})
    # n1: fit 1/2, speed 10/20; n2: fit 1/8, speed 1
    assert [by_fit.score(n) for n in ("n1", "n2")] == [0.5, 0.34375]
    assert by_fit.choice() == "n1"
    by_speed = Question("weighted", on, job(kind="render"), weights={"best-fit": 1.0, "specialized": 3.0})
    assert [by_speed.score(n) for n in ("n1", "n2")] == [0.5, 0.78125]
    assert by_speed.choice() == "n2"


def test_parts_of_a_weighted_mean_have_parameters_of_their_own() -> None:
    on = experienced(farm([node(attributes=NEW), node(attributes=FAST)]), ("fast", "render", 10))
    weighted = {"weights": {"specialized": 1, "power": 0}, "parameters": {"specialized": {"explore": 0}}}
    assert Question("weighted", on, job(kind="render"), **weighted).choice() == "n2"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"weights": {"magic": 1}}, "there is no placement policy 'magic'"),
        ({"weights": {"best-fit": -1}}, "weights are 0 or more"),
        ({"weights": {"best-fit": 0}}, "not all of them 0"),
        ({"weights": {}}, "not all of them 0"),
        ({"weights": {"weighted": 1}}, "weights name other placements"),
        ({"parameters": {"power": {}}}, "only those named have parameters"),
        ({"weights": {"power": 1}, "parameters": {"power": {"watts": 1}}}, "'power' has no parameter watts"),
    ],
)
def test_weights_that_cannot_be_are_refused(parameters: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyInvalid, match=problem):
        Policies(placement="weighted", parameters={"placement": parameters}).check()


def test_a_negative_number_of_trials_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="explore"):
        Policies(placement="specialized", parameters={"placement": {"explore": -1}}).check()


# -- against plain loops -----------------------------------------------------------------------------------------------

CLASSES = ({}, FAST, SLOW, NEW, FAST | watts("80", "200"), watts("100", "300"))


def random_question(rng: Random, name: str) -> Question | None:
    """A job on up to nine nodes of few kinds, partly in use, with some experience; None if it fits nowhere."""
    sizes = [(rng.choice((0, 2, 4, 8)), rng.choice((0, 0, 1, 2))) for _ in range(3)]
    nodes = []
    for _ in range(rng.randint(1, 9)):
        cores, gpus = rng.choice(sizes)
        nodes.append(node(cores=cores, gpus=gpus, attributes=rng.choice(CLASSES), draining=rng.random() < 0.1))
    on = experienced(farm(nodes))
    for number, free in enumerate(on.index.free):
        taken = resources(rng.choice((0, 0, 1, 2)), gpus=rng.choice((0, 0, 1)))
        if free.fits(taken):
            on.index.allocate(number, taken)
    for _ in range(rng.choice((0, 3, 9))):
        each = rng.choice(list(on.nodes.values()))
        on.performance.record("show", "render", node_class(each.attributes, each.capacity), rng.randint(0, 5))
    wanted = job(requirement=need(rng.choice((0, 1, 2, 4)), gpus=rng.choice((0, 0, 1))), kind="render")
    question = Question(name, on, wanted)
    return question if question.fitting else None


def tightness(question: Question, number: int) -> tuple[int, ...]:
    free = question.index.free[number]
    return free.gpus, free.millicores, number


def roominess(question: Question, number: int) -> tuple[int, ...]:
    free = question.index.free[number]
    if question.job.spec.requirement.resources.gpus:
        return -free.gpus, -free.millicores, number
    return free.gpus > 0, -free.millicores, number


def experience(question: Question, number: int) -> tuple[Any, ...]:
    """Trials by runs, then mean run times, then what nobody knows; nothing but fit while all is unknown."""
    index, performance = question.index, question.context.farm.performance
    classes = [node_class(a, c) for a, c in zip(index.attributes, index.capacity, strict=True)]
    own, fit = classes[number], tightness(question, number)
    if not any(performance.count(name, "render") for name in classes):
        return fit
    able = bits(index.capable(question.job.spec.requirement) & index.open_mask)
    first = [k for k in able if classes[k] == own][:2]
    if performance.count(own, "render") < 2 and number in first:
        return 0, performance.count(own, "render"), fit
    mean_ms = performance.mean_ms(own, "render")
    return (2, 0, fit) if mean_ms is None else (1, mean_ms, fit)


def extra_power(question: Question, number: int) -> tuple[Any, ...]:
    free, capacity = question.index.free[number], question.index.capacity[number]
    wakes = (free.millicores, free.gpus) == (capacity.millicores, capacity.gpus)
    figures = power_figures(question.index.attributes[number], capacity)
    extra_mw = Power().extra_milliwatts(figures, question.job.spec.requirement.resources, wakes=wakes)
    return extra_mw, tightness(question, number)


def total(question: Question, number: int) -> tuple[float, int]:
    return -question.score(question.index.ids[number]), number


RULES: dict[str, Callable[[Question, int], Any]] = {
    "best-fit": tightness,
    "worst-fit": roominess,
    "first-fit": lambda question, number: number,
    "specialized": experience,
    "power": extra_power,
    "weighted": total,
}


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(RULES)))
def test_the_choice_is_that_of_a_plain_loop_and_scores_are_shares(rng: Random, name: str) -> None:
    question = random_question(rng, name)
    if question is None:
        return
    best = min(bits(question.fitting), key=lambda number: RULES[name](question, number))
    assert question.choice() == question.index.ids[best]
    assert all(0 <= question.score(question.index.ids[number]) <= 1 for number in bits(question.fitting))


@given(st.randoms(use_true_random=False))
def test_less_extra_power_never_scores_lower(rng: Random) -> None:
    question = random_question(rng, "power")
    if question is None:
        return
    ranked = sorted(
        (extra_power(question, number)[0], -question.score(question.index.ids[number]))
        for number in bits(question.fitting)
    )
    assert [score for _, score in ranked] == sorted(score for _, score in ranked)


def test_spread_is_another_name_of_worst_fit() -> None:
    assert FAMILIES["placement"]["spread"] is FAMILIES["placement"]["worst-fit"] is WorstFit
