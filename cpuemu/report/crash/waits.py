"""``waits``: the wait graph as text: who waits for whom, a cycle first and marked, then the rest from the oldest on."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_records import Node
from cpuemu.report.crash.reading import Reading

IN_CYCLE, OUTSIDE = "==>", "-->"


def waits(reading: Reading, words: list[str]) -> Iterator[str]:
    """``waits``: who waits for whom"""
    yield from graph(reading)


def graph(reading: Reading) -> Iterator[str]:
    """One line an edge under the node that it leaves; edges of the cycle have another arrow."""
    edges, cycle = reading.edges, reading.cycle
    if not edges:
        yield "wait graph: nobody waits for anybody"
        return
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
