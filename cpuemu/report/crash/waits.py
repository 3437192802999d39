"""``waits``: the wait graph as text: who waits for whom, a cycle first and marked, then the rest from the oldest on."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_records import Node
from cpuemu.report.crash.reading import Reading

IN_CYCLE, OUTSIDE = "==>", "-->"
SHOWN_TASKS = 8
"""Of one run queue."""


def waits(reading: Reading, words: list[str]) -> Iterator[str]:
    """``waits``: who waits for whom"""
    yield from graph(reading)


def graph(reading: Reading, only: list[Edge] | None = None) -> Iterator[str]:
    """One line an edge under the node that it leaves; edges of the cycle have another arrow.  ``only``: of these."""
    edges, cycle = reading.edges if only is None else only, reading.cycle
    if not edges:
        yield "wait graph: nobody waits for anybody"
        return
    queued = [edge for edge in edges if _for_its_turn(reading, edge, edges)]
    edges = [edge for edge in edges if edge not in queued]
    count = len({edge.waiter for edge in edges})
    closed = f"a cycle of {len(cycle)}, each ({IN_CYCLE}) waits for the next, the last for the first"
    yield f"wait graph: {count} wait for somebody; {closed if cycle else 'no cycle'}"
    if cycle:
        names = [reading.graph.node(edge.waiter) for edge in cycle]
        yield f"  {f' {IN_CYCLE} '.join([*names, names[0]])}"
    said = set[str]()
    for node in _order(edges, cycle):
        leaving = [edge for edge in edges if edge.waiter == node]
        leaving.sort(key=lambda edge: edge not in cycle)
        yield f"  {_who(reading, node)}{_wait(reading, leaving[0])}"
        for edge in leaving:
            arrow = IN_CYCLE if edge in cycle else OUTSIDE
            reason = _reason(edge)
            again = reason in said and edge.kind not in ("scheduler", "lock")
            said.add(reason)
            holder = reading.graph.node(edge.holder) if edge.holder is not None else "nobody"
            yield f"    {arrow} {holder}: {'(as above)' if again else reason}"
    yield from _turns(reading, queued)


def _for_its_turn(reading: Reading, edge: Edge, edges: list[Edge]) -> bool:
    """A task that is runnable, and that nobody waits for: it stands in a run queue, no more."""
    return edge.kind == "scheduler" and edge not in reading.cycle and not any(
        other.holder == edge.waiter for other in edges)


def _turns(reading: Reading, queued: list[Edge]) -> Iterator[str]:
    """Run queues in a line each."""
    behind: dict[Node, list[str]] = {}
    for edge in queued:
        if edge.holder is not None:
            behind.setdefault(edge.holder, []).append(reading.graph.node(edge.waiter))
    for holder, names in behind.items():
        more = f" and {len(names) - SHOWN_TASKS} more" if len(names) > SHOWN_TASKS else ""
        yield f"  runnable behind {_who(reading, holder)}: {', '.join(names[:SHOWN_TASKS])}{more}"


def _order(edges: list[Edge], cycle: list[Edge]) -> list[Node]:
    """The cycle, and then who waits longest first."""
    rest = sorted((edge for edge in edges), key=lambda edge: (not edge.since_ns, edge.since_ns))
    return list(dict.fromkeys([*(edge.waiter for edge in cycle), *(edge.waiter for edge in rest)]))


def _who(reading: Reading, node: Node) -> str:
    kind, number = node
    task = reading.graph.task(number) if kind == "task" else None
    return reading.graph.node(node) + (f", cpu {task.cpu}" if task is not None else "")


def _wait(reading: Reading, edge: Edge) -> str:
    """Where, since when, for which word."""
    if edge.kind in ("irqs", "frame", "scheduler"):
        return ""
    where = f" spins in {edge.site}" if edge.text.partition(") ")[2].startswith("spins") else f" waits in {edge.site}"
    since = f", {reading.ago(edge.since_ns)}" if edge.since_ns and "spins" not in where else ""
    return f"{where}{since}, for {edge.word}"


def _reason(edge: Edge) -> str:
    """What there is to say of the holder: the edge's sentence without its beginning."""
    return edge.text.partition(": ")[2] or edge.text
