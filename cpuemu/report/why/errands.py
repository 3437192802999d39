"""What a task is about, in words, from the kernel functions on its stack."""

from __future__ import annotations

from collections.abc import Iterable

ERRANDS = (
    ("drain_all_pages", "drains the page lists of all CPUs"),
    ("on_each_cpu_mask", "calls a function on several CPUs"),
    ("on_each_cpu", "calls a function on every CPU"),
    ("smp_call_function_single", "calls a function on another CPU"),
    ("smp_call_function_many", "calls a function on other CPUs"),
    ("take_down", "takes a CPU offline"),
    ("cpu_up", "brings a CPU online"),
    ("kthread_create_on_node", "has a kernel thread made"),
    ("stop_machine_cpu_stop", "stands in the barrier of stop_machine"),
    ("get_online_cpus", "keeps CPUs from going"),
    ("try_to_compact_pages", "compacts memory"),
    ("free_pcppages_bulk", "gives a batch of pages back to the buddy lists"),
    ("rmqueue_bulk", "refills its CPU's page list"),
    ("shrink_inactive_list", "reclaims pages"),
    ("kswapd_thread", "reclaims memory in the background"),
    ("alloc_pages", "allocates a page"),
    ("free_pages", "frees a page"),
)
"""The innermost first: the first that stands on a stack says most."""
CONTEXTS = (("_alloc_pages_direct_reclaim", "in direct reclaim"), ("_alloc_pages_direct_compact", "in compaction"),
            ("_alloc_pages_slowpath", "in the allocator's slow path"))


def errand(frames: Iterable[str]) -> str:
    """``drains the page lists of all CPUs in direct reclaim``; empty when the stack says nothing that is known."""
    functions = [frame.partition(":")[0] for frame in frames]
    what = next((says for function, says in ERRANDS if function in functions), "")
    where = next((says for function, says in CONTEXTS if function in functions), "")
    return " ".join(part for part in (what, where) if part) if what else ""
