"""The allocator driven at random, step by step beside the model: twice in one process, and across processes.

After each step everything that the model knows is compared: which page came, every list in its order, the counts, the
zone's counter and each CPU's differential, the types of pageblocks, the page cache, what tasks own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cpuemu.core import _core
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import MAX_ORDER, OWNER_BOOT, OWNER_ISOLATED, MigrateType, first_workload_task, lru_head
from tests.core.bench import TYPES, Bench
from tests.core.hands import BATCH, HIGH, Hands, RemoteHands
from tests.core.model import PAGEBLOCK, Model

CPUS = 3
PAGES = 1600
"""Small, so that memory runs out; no multiple of a pageblock, so that one is cut."""
TASKS = (first_workload_task(CPUS), first_workload_task(CPUS) + 1)
KINDS = (*TYPES, MigrateType.RESERVE, MigrateType.ISOLATE)

kinds = st.sampled_from(TYPES)
orders = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5, 9, 10])
picks = st.integers(0, 1 << 16)


class Allocator(RuleBasedStateMachine):
    """The rules and what must hold after each; subclasses say who executes the commands."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.bench = self.new_bench("first")
        self.machine = self.bench.machine
        self.model = Model(PAGES, BATCH, HIGH, cpus=CPUS)
        self.held: list[tuple[int, int, int]] = []
        """Allocated: first page, order, owner."""
        self.lru: list[int] = []
        """The page cache, newest first."""
        self.alive = list(range(CPUS))

    def new_bench(self, name: str) -> Bench:
        path = Path(self.directory.name) / name
        path.mkdir()
        return Bench(path, _core, CPUS, PAGES, checked=True, batch=BATCH, high=HIGH)

    def do(self, cpu: int, name: str, *arguments: Any) -> Any:
        raise NotImplementedError

    def cpu(self, pick: int) -> int:
        """One of those that live."""
        return self.alive[pick % len(self.alive)]

    @initialize(types=st.lists(st.sampled_from((*KINDS, *TYPES)), min_size=3, max_size=3))
    def boot(self, types: list[MigrateType]) -> None:
        """Memory of several types, reserved and isolated too: pageblocks go back as what they are declared to be."""
        for _ in types:
            self.alloc(0, PAGEBLOCK, MigrateType.MOVABLE, False, OWNER_BOOT)
        for block, kind in enumerate(types):
            self.set_pageblock_type(block, kind)
            self.free(0, 0, False)

    # --- allocating and freeing ----------------------------------------------------------------------------

    @rule(pick=picks, order=orders, kind=kinds, cold=st.booleans(), task=st.sampled_from((*TASKS, OWNER_BOOT)))
    def alloc(self, pick: int, order: int, kind: int, cold: bool, task: int) -> None:
        cpu = self.cpu(pick)
        pfn = self.do(cpu, "alloc", order, kind, cold, task)
        expected = (self.model.take_block(order, kind, cpu) if order else self.model.pcp_take(kind, cold, cpu))
        assert pfn == (-1 if expected is None else expected)
        if pfn != -1:
            self.held.append((pfn, order, task))

    @rule(pick=picks, order=st.sampled_from([0, 0, 0, 2, 5, 7]), kind=kinds, number=st.integers(1, 40))
    def alloc_many(self, pick: int, order: int, kind: int, number: int) -> None:
        """In a row: through the lists, into the buddy lists, other types' too, to the end of memory."""
        for _ in range(number):
            self.alloc(pick, order, kind, False, TASKS[0])

    @precondition(lambda self: self.held)
    @rule(pick=picks, which=picks, cold=st.booleans())
    def free(self, pick: int, which: int, cold: bool) -> None:
        """On any CPU, whoever allocated it."""
        cpu = self.cpu(pick)
        pfn, order, _ = self.held.pop(which % len(self.held))
        self.do(cpu, "free", pfn, order, cold)
        if order:
            self.model.give_block(pfn, order, cpu)
        else:
            self.model.pcp_give(pfn, cold, cpu)

    @precondition(lambda self: self.held)
    @rule(pick=picks, which=picks, number=st.integers(1, 40))
    def free_many(self, pick: int, which: int, number: int) -> None:
        for turn in range(min(number, len(self.held))):
            self.free(pick, which + turn, False)

    @precondition(lambda self: any(0 < order <= 3 for _, order, _ in self.held))
    @rule(pick=picks, which=picks)
    def split(self, pick: int, which: int) -> None:
        blocks = [each for each in self.held if 0 < each[1] <= 3]
        block = pfn, order, owner = blocks[which % len(blocks)]
        self.do(self.cpu(pick), "split", pfn, order)
        self.held.remove(block)
        self.held += [(page, 0, owner) for page in range(pfn, pfn + (1 << order))]

    # --- per-CPU lists -------------------------------------------------------------------------------------

    @rule(pick=picks, kind=kinds, wanted=st.integers(1, 2 * BATCH), cold=st.booleans())
    def refill(self, pick: int, kind: int, wanted: int, cold: bool) -> None:
        cpu = self.cpu(pick)
        assert self.do(cpu, "refill", kind, wanted, cold) == self.model.refill(kind, wanted, cold, cpu)

    @rule(pick=picks, share=st.floats(0, 1))
    def bulk_free(self, pick: int, share: float) -> None:
        """Some pages of its own lists; all of them is drain_local_pages."""
        cpu = self.cpu(pick)
        if count := round(share * self.model.on_lists(cpu)):
            self.do(cpu, "bulk", cpu, count)
            self.model.bulk(count, cpu)

    @precondition(lambda self: len(self.alive) > 1)
    @rule(pick=picks, by=picks)
    def dies(self, pick: int, by: int) -> None:
        """CPU_DEAD: another one drains its lists and folds its counters in."""
        dead = self.cpu(pick)
        self.alive.remove(dead)
        cpu = self.cpu(by)
        if count := self.model.on_lists(dead):
            self.do(cpu, "bulk", dead, count)
            self.model.bulk(count, dead, by=cpu)
        self.do(cpu, "fold", dead)
        self.model.fold(dead)
        assert self.machine.pcp(dead, 0).count == self.machine.pcp(dead, 0).free_diff == 0

    @precondition(lambda self: len(self.alive) < CPUS)
    @rule(pick=picks)
    def comes(self, pick: int) -> None:
        dead = [cpu for cpu in range(CPUS) if cpu not in self.alive]
        self.alive.append(dead[pick % len(dead)])

    @rule(pick=picks)
    def fold(self, pick: int) -> None:
        cpu = self.cpu(pick)
        self.do(cpu, "fold", cpu)
        self.model.fold(cpu)

    # --- pageblocks, page cache, watermarks ----------------------------------------------------------------

    @rule(block=st.integers(0, PAGES >> PAGEBLOCK), kind=st.sampled_from(KINDS))
    def set_pageblock_type(self, block: int, kind: MigrateType) -> None:
        """Pages of a reserved block go to its list, or as movable; those of an isolated one leave the lists."""
        for machine in self.machines():
            machine.pageblocks[block].migratetype = kind
        self.model.blocks[block] = kind

    @precondition(lambda self: any(not order and owner != OWNER_ISOLATED for _, order, owner in self.held))
    @rule(pick=picks, which=picks, number=st.integers(1, 6))
    def to_page_cache(self, pick: int, which: int, number: int) -> None:
        pages = [each for each in self.held if not each[1] and each[2] != OWNER_ISOLATED]
        for page in pages[which % len(pages):][:number]:
            self.do(self.cpu(pick), "to_lru", page[0])
            self.held.remove(page)
            self.lru.insert(0, page[0])

    @rule(pick=picks, wanted=st.integers(1, 8))
    def off_page_cache(self, pick: int, wanted: int) -> None:
        """Isolated by reclaim: the oldest first; they are then freed like any other."""
        expected = self.lru[::-1][:wanted]
        assert self.do(self.cpu(pick), "off_lru", wanted) == expected
        del self.lru[len(self.lru) - len(expected):]
        self.held += [(pfn, 0, OWNER_ISOLATED) for pfn in expected]
        self.model.scanned += len(expected)

    @rule(pick=picks, order=st.integers(0, MAX_ORDER - 1), mark=st.integers(0, PAGES), flags=st.integers(0, 3))
    def watermark(self, pick: int, order: int, mark: int, flags: int) -> None:
        left, least = max(0, self.model.free_pages) - (1 << order) - 1, mark
        least -= least // 2 if flags & 1 else 0
        least -= least // 4 if flags & 2 else 0
        expected = left > least
        for size in range(order):
            left -= sum(len(self.model.free[size, kind]) for kind in KINDS) << size
            least >>= 1
            expected = expected and left > least
        assert self.do(self.cpu(pick), "watermark_ok", order, mark, flags) == expected

    @rule()
    def give_up(self) -> None:
        """Reclaim finds nothing: until a page comes back."""
        for machine in self.machines():
            machine.zones[0].all_unreclaimable, machine.zones[0].pages_scanned = 1, 99
        self.model.unreclaimable, self.model.scanned = True, 99

    # --- what holds after each step ------------------------------------------------------------------------

    def machines(self) -> list[Any]:
        return [self.machine]

    @invariant()
    def free_lists(self) -> None:
        for order in range(MAX_ORDER):
            for kind in KINDS:
                assert self.bench.free_list(order, kind) == self.model.free[order, kind], (order, kind.name)
            assert self.machine.zones[0].nr_free[order] == sum(
                len(self.model.free[order, kind]) for kind in KINDS), f"nr_free of order {order}"

    @invariant()
    def pcp_lists(self) -> None:
        for cpu in range(CPUS):
            assert {int(kind): self.bench.pcp_list(kind, cpu) for kind in TYPES} == self.model.lists[cpu], cpu
            assert self.machine.pcp(cpu, 0).count == self.model.on_lists(cpu), cpu

    @invariant()
    def counters(self) -> None:
        zone = self.machine.zones[0]
        assert zone.free_pages == self.model.free_pages
        assert [self.machine.pcp(cpu, 0).free_diff for cpu in range(CPUS)] == self.model.diffs
        exact = zone.free_pages + sum(self.model.diffs)
        assert exact == sum(len(self.model.free[order, kind]) << order for order in range(MAX_ORDER) for kind in KINDS)
        assert self.do(self.alive[0], "snapshot") == exact
        assert bool(zone.all_unreclaimable) == self.model.unreclaimable
        assert zone.pages_scanned == self.model.scanned

    @invariant()
    def pages_and_owners(self) -> None:
        assert {block: self.machine.pageblocks[block].migratetype for block in self.model.blocks} == self.model.blocks
        assert self.bench.listed(lru_head(0, 1)) == self.lru
        assert self.machine.zones[0].nr_file == len(self.lru)
        for task in TASKS:
            assert self.machine.tasks[task].rss == sum(1 << order for _, order, owner in self.held if owner == task)

    def teardown(self) -> None:
        for pfn, order, owner in self.held:
            if owner == OWNER_ISOLATED:  # in reclaim's hands: on no list, and nobody's
                self.do(self.alive[0], "free", pfn, order, False)
        self.held = [block for block in self.held if block[2] != OWNER_ISOLATED]
        result = audit(self.machine, self.bench.image.mapping)
        assert result.ok, result.findings
        assert result.allocated == len(self.lru) + sum(1 << order for _, order, _ in self.held)
        self.directory.cleanup()


class BothForms(Allocator):
    """In one process: the fast and the stepped leaves each on a memory of their own, the same byte for byte."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = self.new_bench("second")
        self.hands = {form: [Hands(Path(self.directory.name) / name, form, cpu) for cpu in range(CPUS)]
                      for form, name in (("fast", "first"), ("stepped", "second"))}

    def machines(self) -> list[Any]:
        return [self.machine, self.twin.machine]

    def do(self, cpu: int, name: str, *arguments: Any) -> Any:
        answer = self.hands["fast"][cpu].do(name, *arguments)
        assert self.hands["stepped"][cpu].do(name, *arguments) == answer
        return answer

    @invariant()
    def same_memory(self) -> None:
        assert self.bench.memory() == self.twin.memory()


class AcrossProcesses(Allocator):
    """One RAM file, a process for each CPU: two with the fast leaves, one with the stepped ones."""

    remote: list[RemoteHands]

    def __init__(self) -> None:
        super().__init__()
        for hands in self.remote:
            hands.open(Path(self.directory.name) / "first")

    def do(self, cpu: int, name: str, *arguments: Any) -> Any:
        return self.remote[cpu].do(name, *arguments)


@pytest.fixture
def across_processes() -> Iterator[type[AcrossProcesses]]:
    """The processes live for the whole test; each machine of it is opened in them."""
    AcrossProcesses.remote = [RemoteHands(form, cpu) for cpu, form in enumerate(("fast", "stepped", "fast"))]
    yield AcrossProcesses
    for hands in AcrossProcesses.remote:
        hands.close()


QUICK = settings(max_examples=80, stateful_step_count=50, deadline=None, derandomize=True, database=None,
                 phases=[Phase.generate, Phase.shrink], suppress_health_check=[HealthCheck.too_slow])
"""The same steps in every run: a failure is the change's."""
LONG = settings(QUICK, max_examples=500, stateful_step_count=80, derandomize=False)


def test_both_forms_and_the_model() -> None:
    run_state_machine_as_test(BothForms, settings=QUICK)


def test_processes_and_the_model(across_processes: type[AcrossProcesses]) -> None:
    run_state_machine_as_test(across_processes, settings=settings(QUICK, max_examples=40))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_both_forms_and_the_model_at_length() -> None:
    run_state_machine_as_test(BothForms, settings=LONG)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_processes_and_the_model_at_length(across_processes: type[AcrossProcesses]) -> None:
    run_state_machine_as_test(across_processes, settings=LONG)
