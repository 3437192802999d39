"""RCU's leaves: every possible CPU stands in the one whose range its number is in."""

from __future__ import annotations

import pytest

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.rcutree import rcu_init, synchronize_sched
from cpuemu.kernel.smpboot import smp_prepare_cpus
from cpuemu.layout import Mask
from tests.kernel.alone import alone

ZONES = (ZoneSpec("DMA32", 0, 8192, 8192, 8192, wmark=(100, 125, 150), stat_threshold=0),)


@pytest.mark.parametrize("absent", [(), (1,), (1, 2, 3), (2, 3, 4, 5), (1, 2, 3, 4, 5, 6)])
def test_the_leaf_of_every_possible_cpu(absent: tuple[int, ...]) -> None:
    with alone(ZONES, cpus=8, checked=False) as here:
        smp_prepare_cpus(here.machine, absent)
        rcu_init(here.cpu)
        for data in here.machine.rcu_data:
            if data.index not in absent:
                node = here.machine.rcu_nodes[data.mynode]
                assert node.grplo <= data.index <= node.grphi and data.grpmask == 1 << data.index - node.grplo


def test_a_grace_period_of_one_cpu_and_of_one_that_is_idle() -> None:
    """CPU 0 has slept when its turn comes; CPU 1, which says nothing, is found idle."""
    with alone(ZONES, cpus=2, checked=False) as here:
        rcu_init(here.cpu)
        here.machine.cpumasks[Mask.ONLINE].bits[0] |= 2
        node, other = here.machine.rcu_nodes[0], here.machine.cpus[1]
        node.qsmaskinit |= 2
        assert other.current == other.idle_task
        synchronize_sched(here.cpu)
        assert here.machine.rcu.completed == here.machine.rcu.gpnum == 1 and node.qsmask == 0
