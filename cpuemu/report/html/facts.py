"""The part of a report that is read, not drawn: verdict, numbers, findings, waits, configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from cpuemu.coordinator.verdict import COUNTS, Finding, findings_of
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import MachineState, process_name
from cpuemu.report.crash.reading import Reading, guarded
from cpuemu.report.html.graph import Waits, drawing
from cpuemu.report.image import Image
from cpuemu.report.why.case import Case
from cpuemu.report.why.paragraph import paragraph

_TIME = re.compile("At (\\d+\\.\\d+)\u00a0s")
NO_VERDICT = "no verdict"


def verdict_word(image: Image) -> str:
    return str(image.verdict.get("verdict") or NO_VERDICT)


def findings(image: Image) -> list[Finding]:
    """The verdict's, which has more; RAM's where nobody lived to give a verdict."""
    known = Finding.__dataclass_fields__
    told = [each for each in image.verdict.get("findings") or [] if isinstance(each, dict) and "rule" in each]
    if told:
        return [Finding(**{name: value for name, value in each.items() if name in known}) for each in told]
    return findings_of(image.machine)


# --- the head ----------------------------------------------------------------------------------------------


def summary(image: Image, notes: Iterable[str]) -> Iterator[str]:
    """Verdict, tiles of numbers, what has to be known about them."""
    word = verdict_word(image)
    yield f'<p class="verdict {escape(word)}"><span class="word">{escape(word)}</span> {escape(_because(image))}</p>'
    yield from _story(image)
    yield '<dl class="tiles">'
    for name, value, more in _tiles(image):
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
    yield "</dl>"
    told = [*(image.verdict.get("notes") or []), *image.problems, *notes]
    if told:
        yield f'<ul class="notes">{"".join(f"<li>{escape(str(each))}</li>" for each in told)}</ul>'


def _story(image: Image) -> Iterator[str]:
    """What trace-dump --why says first; each time in it leads to the timeline."""
    case = Case(Reading(image))
    if not case.well:
        for text in guarded(lambda: iter([paragraph(case)]), "the story"):
            told = _TIME.sub(r'At <button type="button" class="moment" data-seek="\1">\1&nbsp;s</button>', escape(text))
            yield f'<p class="story">{told}</p>'


def _because(image: Image) -> str:
    number = len(findings(image))
    if not image.verdict:
        return (f"The machine was {image.state_name()} when its files were read: it runs, or nobody lived to give a "
                "verdict.")
    who = image.verdict.get("who")
    dead = image.machine.header.dead_process
    if dead and 0 < dead <= len(image.machine.processes):
        return f"The process of {process_name(image.machine.processes[dead - 1])} died."
    if number:
        faults = image.verdict.get("fault")
        first = findings(image)[0].rule
        more = f" and {number - 1} more" if number > 1 else ""
        return f"{first}{more}" + (f", which comes of the injected {faults}" if faults else "")
    if image.verdict.get("verdict") == "ok":
        return "Every page is accounted for, and nobody is left waiting."
    return f"It was {who}." if who else ""


def _tiles(image: Image) -> Iterator[tuple[str, str, str]]:
    verdict, configuration = image.verdict, image.configuration
    counts = counters(image)
    pages = verdict.get("pages") or audit(image.machine, image.memory.view).pages()
    yield ("machine", f"{image.machine.dims.cpus} CPUs",
           ", ".join((str(configuration.get("profile", "?")), f"preempt {configuration.get('preempt', '?')}",
                      f"seed {configuration.get('seed', '?')}")))
    yield ("workload", str(configuration.get("workload_name") or configuration.get("workload", "?")),
           f"{image.machine.header.tasks_done} of {image.machine.header.nr_workload} tasks ended")
    if verdict:
        yield "ran", f"{verdict.get('seconds', 0):.2f} s", f"up after {verdict.get('boot_seconds', 0):.2f} s"
    else:
        yield "state", image.state_name(), ""
    yield ("pages", f"{pages['managed']:,}",
           f"{pages['buddy']:,} buddy, {pages['pcp']:,} pcp, {pages['allocated']:,} allocated")
    yield ("allocator", f"{counts['alloc']:,}",
           f"allocated; {counts['free']:,} freed, {counts['alloc_failed']:,} failed")
    yield ("reclaim", f"{counts['direct_reclaim']:,}",
           f"direct; {counts['drain_all']:,} drains of all CPUs, {counts['oom']:,} OOM kills")
    yield ("interrupts", f"{counts['ipi_sent']:,}",
           f"sent; {counts['ipi_taken']:,} taken, {counts['ipi_coalesced']:,} coalesced")
    yield ("hotplug", f"{counts['offline']:,} + {counts['online']:,}",
           f"offline and online; {counts['stop_machine']:,} stop_machine")


def counters(image: Image) -> dict[str, int]:
    """The verdict's counts, or the same sums from RAM."""
    told = image.verdict.get("counts")
    if isinstance(told, dict) and set(COUNTS) <= set(told):
        return told
    return {name: sum(cpu.counters[number] for cpu in image.machine.cpus) for name, number in COUNTS.items()}


# --- findings ----------------------------------------------------------------------------------------------


def finding_articles(image: Image) -> Iterator[str]:
    for number, finding in enumerate(findings(image)):
        where = [f"cpu {finding.cpu}"] if finding.cpu is not None else []
        where += [f"task {finding.task}"] if finding.task else []
        where += [f"after {finding.seconds:.3f} s"] if finding.seconds else []
        origin = f" known: zoo {finding.known}" if finding.known else ""
        origin += f" comes of the injected {finding.fault}" if finding.fault else ""
        seek = f'<button type="button" data-seek="{finding.seconds}">Show on the timeline</button>'
        seek = seek if finding.seconds else ""
        yield (f'<article class="finding {escape(finding.severity)}" id="finding-{number}"><h3>{escape(finding.rule)}'
               f'<small>{escape(origin)}</small></h3><p class="where">{escape(", ".join(where))} {seek}</p>'
               f"<p>{escape(finding.message)}</p>")
        yield from _more("Stacks, newest function first", [
            *([f"{finding.task or 'here'}: {finding.stack}"] if finding.stack else []),
            *(f"{task}: {stack}" for task, stack in finding.stacks.items())])
        yield from _more("Locks held", finding.locks)
        yield from _more("Last events of the CPUs concerned", finding.trace)
        if finding.again:
            yield f'<p>Run it again: <code>{escape(finding.again)}</code></p>'
        yield "</article>"


def _more(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        text = "\n".join(line.strip() for line in lines)
        yield f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>"


# --- waits, configuration, counters ------------------------------------------------------------------------


def wait_section(waits: Waits) -> Iterator[str]:
    if waits.cycle:
        names = [waits.names[edge.waiter] for edge in waits.cycle]
        yield f'<p class="deadlock"><strong>Deadlock:</strong> {escape(" → ".join([*names, names[0]]))}</p>'
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="Wait graph">{drawing(waits)}</div>'
    if any(not edge.firm for edge in waits.edges):
        yield '<p class="hint">Dashed: something else could end that wait too.</p>'
    first = [*waits.cycle, *(edge for edge in waits.edges if edge not in waits.cycle)]
    yield f'<ol class="sentences">{"".join(f"<li>{escape(edge.text)}</li>" for edge in first)}</ol>'


def details(image: Image) -> Iterator[str]:
    """Tables for who wants every number."""
    shown = {name: value for name, value in image.configuration.items() if value not in (None, False, "", [], {})}
    yield from _table("Configuration", ((name, _plain(value)) for name, value in shown.items()))
    yield from _table("Counters", ((name, f"{value:,}") for name, value in counters(image).items()))


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    body = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    yield f"<details><summary>{title}</summary><table>{body}</table></details>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def commands(image: Image, directory: Path) -> Iterator[str]:
    """What to type next."""
    yield f"trace-dump {directory} --why"
    yield f"trace-dump {directory} --state"
    yield f"trace-dump {directory} --pfn N"
    if again := image.verdict.get("again"):
        yield str(again)


def is_running(image: Image) -> bool:
    return not image.verdict and image.machine.header.state < MachineState.OFF
