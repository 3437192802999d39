"""Sets of CPUs (Linux: include/linux/cpumask.h, kernel/cpu.c).

Invariant:     active and online are subsets of present, present of possible.
Writers:       online: the CPU itself coming up, take_cpu_down going; active: the control task's notifiers.
Steps:         one before a bit is set or cleared.  A mask of n words is read word by word; only each word is atomic,
               as in Linux.
Not modelled:  cpumask_var_t allocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cpuemu.arch.gate import Kind
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import WARN_ON_ONCE
from cpuemu.layout import Cpumask, Mask
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address, Words


P_SET = {mask: site(f"set_cpu_{mask.name.lower()}") for mask in Mask}
P_CLEAR = {mask: site(f"clear_cpu_{mask.name.lower()}") for mask in Mask}


def nr_cpu_ids(cpu: Cpu) -> int:
    return cpu.machine.dims.cpus


def cpumask_check(cpu: Cpu, number: int) -> int:
    """Warn of a CPU number beyond the possible ones: a caller's bug (include/linux/cpumask.h)."""
    if not 0 <= number < nr_cpu_ids(cpu):
        WARN_ON_ONCE(cpu, True, oracles.CPUMASK_CHECK, f"cpu {number} >= nr_cpumask_bits")
    return number


def cpumask_word(cpu: Cpu, mask: Mask, number: int) -> Address:
    """The address of the word that holds a CPU's bit."""
    return cpu.machine.cpumasks[mask].addr(Cpumask.bits, cpumask_check(cpu, number) // 64)


def cpumask_test_cpu(cpu: Cpu, number: int, mask: Mask) -> bool:
    return bool(cpu.ram.read(cpumask_word(cpu, mask, number)) >> number % 64 & 1)


def cpumask_set_cpu(cpu: Cpu, number: int, mask: Mask) -> None:
    word = cpumask_word(cpu, mask, number)
    cpu.point(P_SET[mask], word, Kind.WRITE)
    cpu.ram.set_bits(word, 1 << number % 64)


def cpumask_clear_cpu(cpu: Cpu, number: int, mask: Mask) -> None:
    word = cpumask_word(cpu, mask, number)
    cpu.point(P_CLEAR[mask], word, Kind.WRITE)
    cpu.ram.clear_bits(word, 1 << number % 64)


def cpu_possible(cpu: Cpu, number: int) -> bool:
    return cpumask_test_cpu(cpu, number, Mask.POSSIBLE)


def cpu_online(cpu: Cpu, number: int) -> bool:
    return cpumask_test_cpu(cpu, number, Mask.ONLINE)


def cpu_active(cpu: Cpu, number: int) -> bool:
    return cpumask_test_cpu(cpu, number, Mask.ACTIVE)


def cpumask_copy(cpu: Cpu, mask: Mask) -> int:
    """The mask as an integer: a snapshot."""
    return bits_of(cpu.machine.cpumasks[mask].bits)


def cpumask_weight(cpu: Cpu, mask: Mask) -> int:
    return cpumask_copy(cpu, mask).bit_count()


def num_online_cpus(cpu: Cpu) -> int:
    return cpumask_weight(cpu, Mask.ONLINE)


def cpumask_first(bits: int) -> int:
    """The lowest CPU of a snapshot; NR_CPUS or more when it is empty, as in Linux: compare before use."""
    return (bits & -bits).bit_length() - 1 if bits else 1 << 30


def cpumask_any_and(cpu: Cpu, bits: int, mask: Mask) -> int:
    """Any CPU of a snapshot and of a mask; nr_cpu_ids when there is none: compare before use."""
    both = bits & cpumask_copy(cpu, mask)
    return cpumask_first(both) if both else nr_cpu_ids(cpu)


def mask_of(cpus: Iterable[int]) -> int:
    """These CPUs as a snapshot."""
    return sum(1 << number for number in set(cpus))


def for_each_cpu(bits: int) -> Iterator[int]:
    """The CPUs of a snapshot, lowest first."""
    while bits:
        low = bits & -bits
        bits ^= low
        yield low.bit_length() - 1


def for_each_online_cpu(cpu: Cpu) -> Iterator[int]:
    return for_each_cpu(cpumask_copy(cpu, Mask.ONLINE))


def bits_of(words: Words) -> int:
    """An array word that is a mask, as an integer."""
    return words.whole()


def store_bits(words: Words, bits: int) -> None:
    """An integer into an array word that is a mask."""
    for index in range(len(words)):
        words[index] = bits >> 64 * index & 0xFFFF_FFFF_FFFF_FFFF
