"""Who waits for whom as a drawing: boxes from left (who waits) to right (who is waited for), a deadlock marked.

The drawing is SVG in the page's own colours; each arrow carries its sentence, and the sentences stand below it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from cpuemu.kernel.hung_task import Edge, Node, find_cycle
from cpuemu.kernel.wait_graph import WaitGraph
from cpuemu.report.image import Image

EDGES_DRAWN = 80
"""More arrows than that are a thicket: the deadlock and the firm ones are drawn, all are told."""
WIDTH, HEIGHT, ACROSS, DOWN = 220, 48, 90, 18
"""Of a box, and between boxes, in pixels."""
LETTERS = 32
"""Of a box's second line."""


HEADS = """\
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 10 5 0 10z"/></marker>
<marker id="head-cycle" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="5" markerHeight="5" orient="auto">
<path d="M0 0 10 5 0 10z"/></marker></defs>"""


@dataclass
class Waits:
    """The edges of the machine when it stopped."""

    edges: list[Edge]
    cycle: list[Edge]
    names: dict[Node, str]


def waits_of(image: Image) -> Waits:
    graph = WaitGraph(image.machine)
    edges = graph.edges()
    nodes = {edge.waiter for edge in edges} | {edge.holder for edge in edges if edge.holder is not None}
    return Waits(edges, find_cycle(edges), {node: graph.node(node) for node in nodes})


@dataclass
class _Box:
    """Where a node is drawn, in pixels."""

    x: int
    y: int


@dataclass
class _Drawing:
    """Boxes by node."""

    boxes: dict[Node, _Box] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return (max(box.x for box in self.boxes.values()) + WIDTH + 70,
                max(box.y for box in self.boxes.values()) + HEIGHT + 40)


def drawing(waits: Waits) -> str:
    """The graph as SVG; empty where nobody waits for anybody."""
    edges = _drawn(waits)
    if not edges:
        return ""
    placed = _place(edges, waits.cycle)
    width, height = placed.size
    head = f'<svg class="waits" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return "\n".join([f'{head} aria-label="Who waits for whom; the sentences below say the same">', HEADS,
                      *_arrows(edges, waits.cycle, placed), *_boxes(edges, waits, placed), "</svg>"])


def _drawn(waits: Waits) -> list[Edge]:
    rest = [edge for edge in waits.edges if edge not in waits.cycle]
    rest.sort(key=lambda edge: not edge.firm)
    return [*waits.cycle, *rest][:EDGES_DRAWN]


def _place(edges: list[Edge], cycle: list[Edge]) -> _Drawing:
    """A node stands one column left of whom it waits for, at the height of those who wait for it."""
    depths = _depths(edges, cycle)
    columns: dict[int, list[Node]] = {}
    for node, depth in depths.items():
        columns.setdefault(max(depths.values()) - depth, []).append(node)
    placed = _Drawing()
    for column in sorted(columns):
        wished = {node: _middle([placed.boxes[edge.waiter].y for edge in edges
                                 if edge.holder == node and edge.waiter in placed.boxes]) for node in columns[column]}
        y = 4
        for node in sorted(columns[column], key=lambda node: (wished[node], _targets(edges, node), node)):
            y = max(y, wished[node])
            placed.boxes[node] = _Box(column * (WIDTH + ACROSS) + 4, y)
            y += HEIGHT + DOWN
    return placed


def _middle(heights: list[int]) -> int:
    return (min(heights) + max(heights)) // 2 if heights else 0


def _targets(edges: list[Edge], node: Node) -> list[Node]:
    """Who waits for the same stands together."""
    return sorted(edge.holder for edge in edges if edge.waiter == node and edge.holder is not None)


def _depths(edges: list[Edge], cycle: list[Edge]) -> dict[Node, int]:
    """How many waits there are to the end, for each node; in a cycle, to where it is cut."""
    cut = cycle[-1:]
    holders: dict[Node, list[Node]] = {}
    for edge in edges:
        holders.setdefault(edge.waiter, [])
        if edge.holder is not None:
            holders.setdefault(edge.holder, [])
            if edge not in cut:
                holders[edge.waiter].append(edge.holder)
    depths: dict[Node, int] = {}

    def depth(node: Node, above: frozenset[Node]) -> int:
        if node not in depths:
            below = [each for each in holders[node] if each not in above]
            depths[node] = max((1 + depth(each, above | {node}) for each in below), default=0)
        return depths[node]

    for node in holders:
        depth(node, frozenset({node}))
    return depths


def _boxes(edges: list[Edge], waits: Waits, placed: _Drawing) -> Iterator[str]:
    marked = {edge.waiter for edge in waits.cycle}
    for node, box in placed.boxes.items():
        own = [edge for edge in edges if edge.waiter == node]
        second = f"waits for {own[0].word}" if own else "waits for nobody"
        if own and own[0].kind == "scheduler":
            second = "runnable, not running"
        second = second if len(second) <= LETTERS else second[: LETTERS - 1] + "…"
        title = escape(" · ".join(edge.text for edge in own) or second)
        yield (f'<g class="box{" cycle" if node in marked else ""}{"" if own else " end"}"><title>{title}</title>'
               f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
               f'<text x="{box.x + 12}" y="{box.y + 20}">{escape(waits.names[node])}</text>'
               f'<text class="small" x="{box.x + 12}" y="{box.y + 37}">{escape(second)}</text></g>')


def _arrows(edges: list[Edge], cycle: list[Edge], placed: _Drawing) -> Iterator[str]:
    for edge in edges:
        if edge.holder is None:
            continue
        start, end = placed.boxes[edge.waiter], placed.boxes[edge.holder]
        x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
        if end.x > start.x:
            bend = (x2 - x1) // 2
            path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 2} {y2}"
        else:  # back to the left, or to itself: below all boxes, and in from below
            low, x2, y2 = placed.size[1] - 16, x2 + WIDTH // 2, end.y + HEIGHT + 2
            path = (f"M{x1} {y1}C{x1 + 50} {y1} {x1 + 50} {low} {x1 - 20} {low}H{x2 + 24}"
                    f"C{x2 + 4} {low} {x2} {low - 8} {x2} {y2}")
        mark = edge in cycle
        kind = "arrow cycle" if mark else "arrow firm" if edge.firm else "arrow"
        yield (f'<path class="{kind}" d="{path}" marker-end="url(#head{"-cycle" if mark else ""})">'
               f"<title>{escape(edge.text)}</title></path>")
