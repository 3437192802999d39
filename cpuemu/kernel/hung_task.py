"""A machine that does not move: the cycle, and the reasons in words (Linux: kernel/hung_task.c, lockdep).

Invariant:     serves the watchdog of a running machine and the post-mortem of a dead one: reads RAM, nothing else.
Writers:       none.
Steps:         none.
Not modelled:  waits that only the host can end (a stopped process): they are told, never judged.
"""

from __future__ import annotations

from cpuemu.kernel.wait_graph import Edge, WaitGraph
from cpuemu.kernel.wait_records import Node
from cpuemu.layout import Machine

__all__ = ["Edge", "Node", "edges", "explain", "find_cycle", "reach"]


def edges(machine: Machine, now_ns: int | None = None) -> list[Edge]:
    """Every wait of the machine.  ``now_ns``: CLOCK_MONOTONIC; default the latest time that stands in RAM."""
    return WaitGraph(machine, now_ns).edges()


def find_cycle(graph: list[Edge]) -> list[Edge]:
    """A deadlock: firm edges, each one's holder the next one's waiter, the last one's the first one's; or nothing."""
    leaving: dict[Node, list[Edge]] = {}
    for each in graph:
        if each.firm and each.holder is not None:
            leaving.setdefault(each.waiter, []).append(each)
    done: set[Node] = set()
    for start in sorted(leaving):
        path: list[Edge] = []
        on_path: dict[Node, int] = {start: 0}
        ways = [iter(leaving[start])]
        while ways:
            edge = next(ways[-1], None)
            if edge is None:
                ways.pop()
                last = path.pop().holder if path else start
                assert last is not None
                on_path.pop(last, None)
                done.add(last)
                continue
            holder = edge.holder
            if holder is None or holder in done:
                continue
            if holder in on_path:
                return _canonical([*path, edge][on_path[holder]:])
            path.append(edge)
            on_path[holder] = len(path)
            ways.append(iter(leaving.get(holder, ())))
    return []


def _canonical(cycle: list[Edge]) -> list[Edge]:
    """The same cycle always begins at the same node, so that two looks can be compared."""
    first = min(range(len(cycle)), key=lambda at: cycle[at].waiter)
    return cycle[first:] + cycle[:first]


def reach(graph: list[Edge], start: Node) -> set[Node]:
    """Every node that ``start`` waits for, directly or not, itself included."""
    found, todo = {start}, [start]
    while todo:
        node = todo.pop()
        for edge in graph:
            if edge.waiter == node and edge.holder is not None and edge.holder not in found:
                found.add(edge.holder)
                todo.append(edge.holder)
    return found


def explain(machine: Machine, now_ns: int | None = None) -> list[str]:
    """Who waits for whom, one sentence an edge; a deadlock first, as the cycle."""
    graph = WaitGraph(machine, now_ns)
    found = graph.edges()
    cycle = find_cycle(found)
    sentences = []
    if cycle:
        names = [graph.node(edge.waiter) for edge in cycle]
        sentences.append("deadlock: " + " -> ".join([*names, names[0]]))
        sentences += [edge.text for edge in cycle]
    return sentences + [edge.text for edge in found if edge not in cycle]
