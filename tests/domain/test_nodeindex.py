"""The node index answers as plain loops over the nodes would, after any changes, and its forks are independent."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.indices.nodeindex import NodeIndex, bits
from domain.node import NodeStatus
from domain.resources import NOTHING, Requirement, Resources, has_attributes
from tests.builders import having, need, node, resources
from tests.contents import amount_of, check_index, index_contents, levels_of
from tests.strategies import amounts, node_attributes, requirements

capacities = st.lists(amounts, min_size=1, max_size=6)
SHARES = (resources(1, memory_mib=1_024, licence=1), resources(0.5, gpus=1))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("take", "give", "open", "close", "retire")), st.integers(0, 5)),
        st.tuples(st.just("resize"), st.integers(0, 5), amounts),
        st.tuples(st.just("relabel"), st.integers(0, 5), node_attributes),
        st.tuples(st.just("ask"), requirements),
    ),
    max_size=25,
)


class Plain:
    """The same as an index, as a list of nodes and what is taken of each."""

    def __init__(self, sizes: list[Resources]) -> None:
        self.index = NodeIndex()
        self.nodes = [replace(node(f"n{k}"), capacity=size) for k, size in enumerate(sizes)]
        self.taken: list[list[Resources]] = [[] for _ in sizes]
        for each in self.nodes:
            self.index.put(each)

    def free(self, number: int) -> Resources:
        left = self.nodes[number].capacity
        for taken in self.taken[number]:
            left = left.minus(taken)
        return left

    def put(self, number: int, **changes: object) -> None:
        """Changes a node that has not left for good."""
        if self.nodes[number].retired:
            return
        self.nodes[number] = replace(self.nodes[number], **changes)
        self.index.put(self.nodes[number])

    def take(self, number: int, share: Resources) -> None:
        if self.free(number).fits(share):
            self.taken[number].append(share)
            self.index.allocate(number, share)

    def step(self, what: str, at: object, more: object = None) -> None:
        if what == "ask":
            self.index.fitting(at)
            return
        number = at % len(self.nodes)
        if what == "take":
            self.take(number, SHARES[at % 2])
        elif what == "give" and self.taken[number]:
            self.index.release(number, self.taken[number].pop())
        elif what in ("open", "close"):
            self.put(number, status=NodeStatus.ONLINE if what == "open" else NodeStatus.OFFLINE)
        elif what == "retire":
            self.put(number, status=NodeStatus.OFFLINE, retired=True)
        elif what == "resize":
            self.put(number, capacity=more)
        elif what == "relabel":
            self.put(number, attributes=more)


def holds(free: Resources, per_slot: Resources) -> bool:
    """Whether one slot fits; what is not asked for may even be overdrawn."""
    return all(amount_of(free, resource) >= amount for resource, amount in per_slot.items())


def mask(numbers: list[int]) -> int:
    return sum(1 << number for number in numbers)


@given(capacities, steps, requirements)
def test_it_answers_as_plain_loops_would_after_any_changes(sizes: list, changes: list, wanted: Requirement) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    index, nodes = plain.index, plain.nodes
    assert index.free == [plain.free(number) for number in range(len(nodes))]
    check_index(index)
    per_slot, demands = wanted.resources, wanted.attributes
    meets = [n for n, each in enumerate(nodes) if not each.retired and has_attributes(each.attributes, demands) is None]
    fitting = [n for n in meets if nodes[n].takes_work and holds(index.free[n], per_slot)]
    assert index.with_attributes(wanted.attributes) == mask(meets)
    assert index.fitting(wanted) == mask(fitting)
    assert index.capable(wanted) == mask([n for n in meets if nodes[n].capacity.fits(per_slot)])
    order = sorted(fitting, key=lambda n: (max(0, index.free[n].gpus), max(0, index.free[n].millicores), n))
    assert index.best_fit(mask(fitting), per_slot) == (order[0] if order else -1)
    assert list(index.by_best_fit(mask(fitting))) == order


@given(capacities, steps, requirements)
def test_what_is_scarce_fits_nowhere_and_a_fork_says_the_same(sizes: list, changes: list, wanted: Requirement) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    index, need = plain.index, wanted.resources
    millicores, memory_mib, gpus = index.scarce()
    if need.millicores >= millicores or need.memory_mib >= memory_mib or need.gpus >= gpus:
        assert not index.fitting(wanted)
    assert index.fork().scarce() == index.scarce()


@given(capacities, steps, steps)
def test_neither_a_fork_nor_its_origin_sees_what_the_other_does(sizes: list, changes: list, later: list) -> None:
    """Masks and buckets are shared until one of them changes, whichever that is."""
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    twin = plain.index.fork()
    before = index_contents(twin)
    for change in (each for each in later if each[0] in ("take", "give", "ask")):
        plain.step(*change)
        check_index(plain.index)
    assert index_contents(twin) == before
    check_index(twin)
    before = index_contents(plain.index)
    for number in range(len(sizes)):
        twin.allocate(number, SHARES[0])
        check_index(twin)
    assert index_contents(plain.index) == before
    check_index(plain.index)


@given(capacities, steps, st.sampled_from(("millicores", "memory_mib", "gpus", "licence")))
def test_the_most_free_node_is_the_lowest_of_those_with_the_most(sizes: list, changes: list, resource: str) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    free = [max(0, amount_of(each, resource)) for each in plain.index.free]
    assert plain.index.most_free(mask(list(range(len(free)))), resource) == free.index(max(free))


@given(capacities, steps, requirements)
def test_the_worst_fit_is_the_roomiest_node_that_keeps_gpus_free(
    sizes: list, changes: list, wanted: Requirement
) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    index, per_slot = plain.index, wanted.resources
    fitting = index.fitting(wanted)

    def roominess(number: int) -> tuple[int, ...]:
        gpus, millicores = max(0, index.free[number].gpus), max(0, index.free[number].millicores)
        return (-gpus, -millicores, number) if per_slot.gpus else (gpus > 0, -millicores, number)

    assert index.worst_fit(fitting, per_slot) == min(bits(fitting), key=roominess, default=-1)


@given(capacities, steps)
def test_a_node_is_unused_when_all_its_cores_and_gpus_are_free(sizes: list, changes: list) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    free, capacity = plain.index.free, [each.capacity for each in plain.nodes]
    whole = [
        n for n in range(len(free)) if (free[n].millicores, free[n].gpus) == (capacity[n].millicores, capacity[n].gpus)
    ]
    assert plain.index.unused() == mask(whole)


def os_and_gpus(attributes: dict, capacity: Resources) -> tuple:
    return attributes.get("os", ()), capacity.gpus


@given(capacities, steps, st.integers(0, 63))
def test_groups_follow_every_change_of_a_node(sizes: list, changes: list, among: int) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.index.grouped(os_and_gpus)  # what is remembered must not grow stale
        plain.step(*change)
    groups = plain.index.fork().grouped(os_and_gpus)
    answers = [os_and_gpus(each.attributes, each.capacity) for each in plain.nodes]
    assert groups.answers == answers
    assert groups.masks == {a: mask([n for n, each in enumerate(answers) if each == a]) for a in answers}
    among &= mask(list(range(len(sizes))))
    first: dict[tuple, int] = {}
    for number in bits(among):
        free = plain.index.free[number]
        first.setdefault((answers[number], max(0, free.millicores), max(0, free.gpus)), number)
    assert sorted(plain.index.one_of_each(among, groups)) == sorted(first.values())


@given(capacities, steps, steps)
def test_a_fork_changes_without_touching_what_it_came_from(sizes: list, changes: list, later: list) -> None:
    plain = Plain(sizes)
    for change in changes:
        plain.step(*change)
    levels = levels_of(plain.index)
    before = index_contents(plain.index, levels)
    original, plain.index = plain.index, plain.index.fork()
    for change in later:
        if change[0] in ("take", "give", "ask"):
            plain.step(*change)
    check_index(plain.index)
    assert index_contents(original, levels) == before
    assert levels_of(original) == levels
    check_index(original)


def test_scarce_nodes_and_large_gaps_are_kept_for_last() -> None:
    index = NodeIndex()
    for each in (node("a", 16), node("b", 4, gpus=1), node("c", 8), node("d", 8)):
        index.put(each)
    wanted = need(2)
    assert [index.ids[n] for n in index.by_best_fit(index.fitting(wanted))] == ["c", "d", "a", "b"]


def test_load_spreads_over_the_roomiest_nodes_and_off_free_gpus() -> None:
    index = NodeIndex()
    for each in (node("a", 16, gpus=1), node("b", 4), node("c", 8), node("d", 8), node("e", 4, gpus=2)):
        index.put(each)
    plain, with_gpu = need(1), need(1, gpus=1)
    everybody = index.fitting(plain)
    assert index.worst_fit(everybody, plain.resources) == index.numbers["c"]
    assert index.worst_fit(everybody & ~0b1100, plain.resources) == index.numbers["b"]
    assert index.worst_fit(0b10001, plain.resources) == index.numbers["a"]  # only nodes with GPUs are left
    assert index.worst_fit(index.fitting(with_gpu), with_gpu.resources) == index.numbers["e"]
    assert index.worst_fit(0, plain.resources) == -1


def test_a_node_that_shrinks_below_what_it_holds_fits_nothing_until_enough_is_given_back() -> None:
    index = NodeIndex()
    index.put(node("n1", 4))
    index.allocate(0, resources(1), 3)
    index.put(node("n1", 2))
    assert index.free[0] == resources(-1)
    assert index.fitting(need(1)) == 0
    index.release(0, resources(1), 2)
    assert index.fitting(need(1)) == 1
    check_index(index)


def test_a_node_that_lost_a_gpu_in_use_still_takes_what_needs_none() -> None:
    index = NodeIndex()
    index.put(node("n1", 8, gpus=1))
    index.allocate(0, resources(1, gpus=1))
    index.put(node("n1", 8))
    wanted = need(2)
    assert index.free[0].gpus == -1
    assert (index.fitting(wanted), index.best_fit(1, wanted.resources), index.available(0, "gpus")) == (1, 0, 0)
    check_index(index)


def test_a_node_that_has_left_for_good_could_not_run_anything() -> None:
    index = NodeIndex()
    index.put(node("n1", 8))
    assert index.capable(need(8)) == 1
    index.put(node("n1", 8, status=NodeStatus.OFFLINE, retired=True))
    assert index.capable(need(8)) == index.with_attributes(()) == index.registered_mask == 0


def test_attributes_are_read_anew_when_a_node_changes_or_joins() -> None:
    index, wanted = NodeIndex(), (having("os", "linux"),)
    index.put(node("n1", attributes={"os": ("linux",)}))
    assert index.with_attributes(wanted) == 0b1
    index.put(node("n2", attributes={"os": ("linux",)}))
    assert index.with_attributes(wanted) == 0b11
    index.put(node("n1", attributes={"os": ("macos",)}))
    assert index.with_attributes(wanted) == 0b10


def test_a_need_of_nothing_fits_every_open_node_even_a_full_one() -> None:
    index = NodeIndex()
    index.put(node("n1", 1))
    index.allocate(0, resources(1))
    assert index.fitting(Requirement(NOTHING)) == 1


def test_bits_are_the_numbers_in_a_mask() -> None:
    assert list(bits(0b101001)) == [0, 3, 5]
    assert list(bits(0)) == []
