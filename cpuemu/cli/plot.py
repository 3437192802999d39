"""A comparison as a drawing: one panel a metric, a dot and whiskers a policy.  SVG by hand, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, islice
from math import ceil, floor, log10

from cpuemu.cli.compare_tables import interval_text
from cpuemu.cli.comparison import Comparison, claim, estimated
from cpuemu.cli.metrics import METRICS
from cpuemu.cli.statistics import Estimate

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's: told apart by every eye, on white and on black."""
STYLE = """
  svg { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .back { fill: #ffffff; } .panel { fill: #f6f7f9; }
  .ink { fill: #1c2026; } .soft { fill: #5b6470; } .line { stroke: #d4d9df; }
  .title { font-size: 18px; font-weight: 600; } .group { font-size: 14px; font-weight: 600; }
  .name { font-weight: 600; } .value { font-variant-numeric: tabular-nums; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #14171b; } .panel { fill: #1d2127; }
    .ink { fill: #e7eaee; } .soft { fill: #9aa4b1; } .line { stroke: #39414b; }
  }
"""
COLUMNS, PANEL, GAP, MARGIN = 4, 292, 14, 24
TRACK = 146
"""Of a panel's width: where the dots are; the numbers stand at its right."""
HEADING, ROW, PAD, TICKS = 30, 20, 12, 22


WHAT = "mean and 95 % bootstrap interval over the seeds"
MOMENTS = "order-0 allocations about to OOM, below the min watermark: per cent of the moments"
SHORT = {
    "enough": "1. the others' lists held enough", "quiet": "2. those CPUs were quiet",
    "stayed": "3. the task had not migrated", "all_three": "all three", "saved": "a drain now saves it",
    "all_three_saved": "all three, and a drain saves it", "own_saved": "its own CPU's lists save it",
    "after_drain": "had had a drain before",
}
"""The shares of comparison.CLAIM that are drawn, in few words."""


@dataclass(frozen=True)
class Panel:
    """One metric: an estimate a policy, None where it has none."""

    group: str
    title: str
    estimates: tuple[Estimate | None, ...]
    from_zero: bool = True

    def says_something(self) -> bool:
        """Not where all is nothing; on an axis that does not begin at 0, not where all numbers read the same."""
        present = [each for each in self.estimates if each is not None]
        return any(each.high for each in present) and (self.from_zero or len(set(map(_numbers, present))) > 1)


def svg(comparison: Comparison, title: str) -> str:
    """The whole file."""
    policies = list(comparison.runs)
    height_of = HEADING + ROW * len(policies) + TICKS
    body, top = [], MARGIN + 92
    for group, panels in _groups(comparison):
        body.append(f'<text class="group ink" x="{MARGIN}" y="{top + 14}">{escape(group)}</text>')
        top += 26
        for number, panel in enumerate(panels):
            x = MARGIN + number % COLUMNS * (PANEL + GAP)
            y = top + number // COLUMNS * (height_of + GAP)
            body += _panel(panel, policies, x, y, height_of)
        top += -(-len(panels) // COLUMNS) * (height_of + GAP) + 10
    width, height = 2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP, top + 6
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>", f'<rect class="back" width="{width}" height="{height}"/>',
        f'<text class="title ink" x="{MARGIN}" y="{MARGIN + 18}">{escape(" · ".join(policies))}</text>',
        f'<text class="soft" x="{MARGIN}" y="{MARGIN + 40}">{escape(title)}: {WHAT}</text>',
        *_legend(policies, MARGIN, MARGIN + 66),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _groups(comparison: Comparison) -> Iterator[tuple[str, list[Panel]]]:
    """Panels that have something to show, in the groups of the table; the claim of 2012 last, in per cent."""
    panels = [Panel(metric.group, metric.title, tuple(estimated(comparison.column(policy, name))
                                                      for policy in comparison.runs),
                    metric.from_zero)
              for name, metric in METRICS.items()]
    claims = [claim(runs) for runs in comparison.runs.values()]
    panels += [Panel(MOMENTS, text, tuple(_per_cent(each.shares[name].estimate) for each in claims))
               for name, text in SHORT.items()]
    shown = [panel for panel in panels if panel.says_something()]
    for group in dict.fromkeys(panel.group for panel in shown):
        yield group, [panel for panel in shown if panel.group == group]


def _per_cent(found: Estimate | None) -> Estimate | None:
    return found and Estimate(100 * found.mean, 100 * found.low, 100 * found.high)


def _legend(policies: Sequence[str], x: float, y: float) -> Iterator[str]:
    for policy, colour in _coloured(policies):
        yield f'<circle cx="{x + 5}" cy="{y - 4}" r="5" fill="{colour}"/>'
        yield f'<text class="ink" x="{x + 16}" y="{y}">{escape(policy)}</text>'
        x += 40 + 7 * len(policy)


def _coloured(policies: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(policies, islice(cycle(COLOURS), len(policies)), strict=True))


def _panel(panel: Panel, policies: Sequence[str], x: float, y: float, height: float) -> Iterator[str]:
    present = [each for each in panel.estimates if each is not None]
    top = max(each.high for each in present)
    ticks = nice_ticks(0 if panel.from_zero else min(each.low for each in present), top)
    left = x + PAD
    scale = TRACK / (ticks[-1] - ticks[0])
    yield f'<rect class="panel" x="{x}" y="{y}" width="{PANEL}" height="{height}" rx="6"/>'
    yield f'<text class="ink name" x="{left}" y="{y + 19}">{escape(panel.title)}</text>'
    bottom = y + HEADING + ROW * len(policies)
    for tick in ticks:
        at = left + (tick - ticks[0]) * scale
        yield f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="{y + HEADING}" y2="{bottom}"/>'
        anchor = "start" if tick == ticks[0] else "middle"
        yield (f'<text class="soft value" x="{at:.1f}" y="{bottom + 13}" font-size="10" text-anchor="{anchor}">'
               f"{compact(tick)}</text>")
    for number, ((policy, colour), each) in enumerate(zip(_coloured(policies), panel.estimates, strict=True)):
        middle = y + HEADING + ROW * number + ROW / 2
        yield f"<g><title>{escape(policy)}: {interval_text(each)}</title>"
        if each is not None:
            yield from _dot(each, colour, left - ticks[0] * scale, middle, scale)
        yield (f'<text class="{"ink" if each is not None else "soft"} value" x="{x + PANEL - PAD}" y="{middle + 4}" '
               f'font-size="11" text-anchor="end">{_numbers(each)}</text></g>')


def _dot(each: Estimate, colour: str, zero: float, middle: float, scale: float) -> Iterator[str]:
    low, high, mean = (zero + value * scale for value in (each.low, each.high, each.mean))
    yield (f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8" '
           f'stroke="{colour}" stroke-width="2" stroke-linecap="round" fill="none"/>')
    yield f'<circle cx="{mean:.1f}" cy="{middle}" r="4.5" fill="{colour}"/>'


def _numbers(each: Estimate | None) -> str:
    if each is None:
        return "–"
    low, high = compact(each.low), compact(each.high)
    return compact(each.mean) + (f" ({low}–{high})" if low != high else "")


def compact(number: float) -> str:
    """``43``, ``4.23``, ``90.5k``, ``1.2M``: three digits, as far as they say something."""
    value = abs(number)
    unit = "M" if value >= 999_500 else "k" if value >= 999.5 else ""
    scale = {"M": 1e6, "k": 1e3, "": 1.0}[unit]
    digits = 0 if value / scale >= 99.95 else 1 if value / scale >= 9.995 else 2
    text = f"{number / scale:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if digits else text) + unit


def nice_ticks(low: float, high: float) -> list[float]:
    """From ``low`` or below to at least ``high``, in at most four steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, abs(high) / 1e6, 1e-9)
    size = 10.0 ** floor(log10(span / 4))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if ceil(high / (size * factor)) -
                floor(low / (size * factor)) <= 4)
    first, last = floor(low / step), ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]
