"""The C side is a fair counterpart only if it does the same: after the same operations it has left the same bytes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.arena import Arena
from benchmarks.compiled import FLAGS, Allocator, build
from benchmarks.measure import Missing
from cpuemu.events import RECORD, RECORD_SIZE, Ring, ring_base
from cpuemu.layout import Exit, Program

OPERATIONS = 6000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Allocator:
    return Allocator(tmp_path_factory.mktemp("allocator"))


def arenas(directory: Path, program: Program, traced: bool) -> tuple[Arena, Arena]:
    return tuple(Arena(directory / name, program, OPERATIONS, traced) for name in ("ours", "theirs"))  # type: ignore


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Regions that are not the same."""
    return [name for name in one if one[name] != other[name]]


def trace(arena: Arena) -> list[tuple[int, ...]]:
    """Every record but its time."""
    start = ring_base(1, arena.rings.sizes, 0, Ring.PAGES)
    copy = arena.rings.mapping[start : start + OPERATIONS * RECORD_SIZE]
    return [fields[1:] for fields in RECORD.iter_unpack(copy)]


@pytest.mark.parametrize("traced", [False, True], ids=["untraced", "traced"])
@pytest.mark.parametrize("program", [Program.REPLAY, Program.STORM])
def test_both_sides_leave_the_same_memory(tmp_path: Path, allocator: Allocator, program: Program, traced: bool) -> None:
    ours, theirs = arenas(tmp_path, program, traced)
    fresh = ours.memory()
    assert differing(fresh, theirs.memory()) == []
    ours.ours(OPERATIONS)
    theirs.theirs(allocator, OPERATIONS)
    assert differing(ours.memory(), theirs.memory()) == []
    assert {"tasks", "cpus"} <= set(differing(fresh, ours.memory()))
    assert trace(ours) == trace(theirs)
    assert any(any(record) for record in trace(ours)) is traced


@pytest.mark.parametrize("spoil", ["gives", "types"])
def test_gifts_and_all_migratetypes(tmp_path: Path, allocator: Allocator, spoil: str) -> None:
    """Storms that give pages away; and that ask for types whose lists are empty: there both stop at the same place."""
    ours, theirs = arenas(tmp_path, Program.STORM, True)
    for arena in (ours, theirs):
        arena.task.user[3 if spoil == "gives" else 5] = 200
    if spoil == "gives":
        ours.ours(OPERATIONS)
        theirs.theirs(allocator, OPERATIONS)
    else:
        reason = ours.core.run_batch(ours.number, OPERATIONS)
        with pytest.raises(AssertionError, match="-2"):
            theirs.theirs(allocator, OPERATIONS)
        assert reason == Exit.KERNEL
        for name in ("op_kind", "op_order", "op_migratetype", "op_gfp", "op_slot", "op_arg"):
            setattr(theirs.task, name, getattr(ours.task, name))  # what the core asks the kernel for, C does not say
    assert differing(ours.memory(), theirs.memory()) == []


def test_pairs_by_call_leave_what_they_found(tmp_path: Path, allocator: Allocator) -> None:
    arena, _ = arenas(tmp_path, Program.STORM, False)
    counts = arena.machine.cpus[0].counters
    arena.called(allocator, "pairs_by_call", 100)
    assert (counts[0], counts[1], arena.task.held, arena.machine.pcp(0, 0).count) == (100, 100, 0, 2048)


def test_the_sides_are_compiled_alike() -> None:
    """The flags of setup.py, warnings apart."""
    module = ast.parse((ROOT / "setup.py").read_text())
    flags = next(ast.literal_eval(each.value) for each in module.body if isinstance(each, ast.Assign)
                 and isinstance(each.targets[0], ast.Name) and each.targets[0].id == "ARGS")
    assert tuple(flag for flag in flags if not flag.startswith("-W")) == FLAGS


def test_no_compiler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: "no-such-compiler")
    with pytest.raises(Missing, match="a C compiler: no-such-compiler cannot be started"):
        build("messages.c", tmp_path / "messages")
