"""The tree is what it says: real processes, named, forked, with one RAM, and nothing else."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launched import Launched, children, wait_for

pytestmark = pytest.mark.timeout(60)

CPUS = 4
STORM = ("--cpus", str(CPUS), "--workload", "storm", "--memory", "64M", "--seconds", "30")


def cpu_pids(run: Launched) -> list[int]:
    return [pid for pid, title in run.tree() if title.startswith("cpuemu cpu ")]


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def stop(run: Launched) -> None:
    run.process.terminate()
    code, said = run.end()
    assert (code, said["verdict"]) == (130, "interrupted"), (said, run.errors, run.log)


def test_names_and_parents(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    coordinator, = children(run.pid("launcher"))  # no resource tracker, no fork server
    zygote, = children(coordinator)
    titles = sorted(title for _, title in run.tree())
    assert titles == sorted(["cpuemu coordinator", "cpuemu zygote", *(f"cpuemu cpu {n} gen 1" for n in range(CPUS))])
    assert sorted(children(zygote)) == sorted(cpu_pids(run))
    for pid, _ in run.tree():
        assert Path(f"/proc/{pid}/comm").read_text().startswith("cpuemu")
    stop(run)


def test_every_cpu_maps_the_same_inode(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    inode = str((run.run_dir / "ram").stat().st_ino)
    pids = cpu_pids(run)
    assert len(pids) == CPUS
    for pid in pids:
        maps = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith("/ram")]
        assert maps, f"process {pid} has no RAM"
        assert {line[4] for line in maps} == {inode}
        assert {line[1] for line in maps} == {"rw-s"}
    stop(run)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_two_cpus_burn_time_in_the_same_second(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    pids = cpu_pids(run)

    def two_at_once() -> bool:
        before = {pid: cpu_ticks(pid) for pid in pids}
        time.sleep(0.5)
        return sum(cpu_ticks(pid) - before[pid] >= 5 for pid in pids) >= 2

    wait_for(two_at_once, 20, "two CPUs burn time at once")
    stop(run)


def test_a_cpu_has_no_descriptor_of_a_sibling_or_of_the_terminal(launch: Callable[..., Launched]) -> None:
    run = launch(*STORM).running()
    stdout = Path(f"/proc/{run.process.pid}/fd/1").readlink()
    counts = []
    for pid in cpu_pids(run):
        targets = [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert stdout not in targets
        assert not [each for each in targets if str(each) == "anon_inode:[pidfd]"]
        counts.append(len(targets))
    assert max(counts) - min(counts) <= 2 * CPUS, counts  # sockets to peers come when pairs talk
    stop(run)


def test_the_socket_directory_is_private(launch: Callable[..., Launched], sockets: Path) -> None:
    run = launch(*STORM).running()
    directory, = sockets.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(str(directory)) < 90
    stop(run)


def test_idle_cpus_sleep(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "4", "--workload", "idle", "--seconds", "30").running()
    time.sleep(0.5)
    before = {pid: cpu_ticks(pid) for pid, _ in run.tree()}
    time.sleep(2)
    spent = {title: cpu_ticks(pid) - before[pid] for pid, title in run.tree()}
    assert sum(ticks for title, ticks in spent.items() if "cpu " in title) <= 8, spent  # 2 % of a core, all together
    assert max(spent.values()) <= 20, spent
    stop(run)


def test_offline_park_keeps_the_process(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "3", "--workload", "idle", "--seconds", "1", "--hotplug", "1,2",
                 "--offline", "park").running()  # no task is inside the kernel anywhere
    pids = set(cpu_pids(run))
    seen = set(pids)
    while run.process.poll() is None:
        seen |= set(cpu_pids(run))
        time.sleep(0.02)
    code, said = run.end()
    assert (code, said["verdict"]) == (0, "ok"), (said, run.log)
    assert said["counts"]["offline"] >= 2
    assert seen == pids


def cpu_2(run: Launched) -> tuple[int, int] | None:
    """Its process and generation; none while it is offline."""
    found = [(pid, int(title.rpartition(" ")[2])) for pid, title in run.tree()
             if re.fullmatch(r"cpuemu cpu 2 gen \d+", title)]
    return max(found, key=lambda each: each[1]) if found else None


def test_offline_exit_gives_a_new_process(launch: Callable[..., Launched]) -> None:
    run = launch("--cpus", "3", "--workload", "idle", "--seconds", "30", "--hotplug", "2").running()
    old, generation = wait_for(lambda: cpu_2(run), 20, "a process of cpu 2")
    wait_for(lambda: (there := cpu_2(run)) and there[1] > generation, 20, "a later generation")
    assert old not in cpu_pids(run)
    stop(run)
