"""/proc/zoneinfo of real machines: what is in it, and files that are no such thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuemu.workloads.base import InputError
from cpuemu.workloads.zoneinfo import parse_zoneinfo, read_zoneinfo
from tests.recordings import DATA, ZONEINFO

pytestmark = pytest.mark.timeout(60)

TEXT = (DATA / ZONEINFO).read_text()


def test_a_machine_under_pressure() -> None:
    dma, dma32 = read_zoneinfo(DATA / ZONEINFO)
    assert (dma.name, dma.start_pfn, dma.spanned, dma.present, dma.managed) == ("DMA", 1, 4095, 3998, 3840)
    assert (dma.wmark, dma.lowmem_reserve) == ((22, 27, 32), (0, 437, 0))
    assert (dma.pcp_batch, dma.pcp_high, dma.stat_threshold) == (1, 0, 8)
    assert (dma32.name, dma32.start_pfn, dma32.end_pfn, dma32.managed) == ("DMA32", 4096, 131037, 114053)
    assert (dma32.wmark, dma32.lowmem_reserve) == ((657, 821, 985), (0, 0, 0))
    assert (dma32.pcp_batch, dma32.stat_threshold) == (31, 24)
    assert dma32.pcp_high == 124, "the lowest that a CPU has: this release tunes it"
    assert dma32.percpu_drift_mark == 985 + 8 * 24, "eight differentials of 24 pages can hide the min mark"


def test_free_pages_include_those_on_the_lists() -> None:
    dma32 = read_zoneinfo(DATA / ZONEINFO)[1]
    counts = [int(line.split()[1]) for line in TEXT.splitlines() if line.strip().startswith("count:")]
    assert dma32.free == 4517 + sum(counts)


def test_zones_that_could_be_take_places_in_protection() -> None:
    """6.1, 4 GiB: Movable and Device are there and empty; Normal is the third number."""
    zones = read_zoneinfo(DATA / "linux-6.1-4cpu-4096MiB.zoneinfo")
    assert [zone.name for zone in zones] == ["DMA", "DMA32", "Normal"]
    assert zones[0].lowmem_reserve == (0, 2938, 3888)
    assert zones[1].lowmem_reserve == (0, 0, 950)
    assert zones[2].start_pfn == 1 << 20
    assert zones[2].managed < zones[2].present


def test_page_cache_and_sizes_of_a_release_that_prints_more() -> None:
    zones = read_zoneinfo(DATA / "linux-6.18-2cpu.zoneinfo")
    assert [zone.nr_file for zone in zones] == [0, 0, 42439]
    assert zones[0].pcp_high == 32, "high is 0 and not yet tuned: high_min counts"
    assert zones[2].pcp_high == 13346


def test_missing_managed_is_present() -> None:
    """Before v3.9 there was one number."""
    text = "\n".join(line for line in TEXT.splitlines() if not line.strip().startswith("managed"))
    assert [zone.managed for zone in parse_zoneinfo(text)] == [3998, 126941]


def test_page_cache_counted_by_zone() -> None:
    """Before v4.8."""
    text = TEXT.replace("nr_zone_inactive_file 0", "nr_inactive_file 700")
    text = text.replace("nr_zone_active_file 0", "nr_active_file 30")
    assert parse_zoneinfo(text)[1].nr_file == 730


def test_high_below_batch_is_raised() -> None:
    """v3.2 frees a whole batch at high: with fewer pages than that it would never end."""
    text = TEXT.replace("high:  124", "high:  7")
    assert parse_zoneinfo(text)[1].pcp_high == 31


@pytest.mark.parametrize(("text", "told"), [
    ("", "names no zone with memory"),
    ("MemTotal: 12 kB\n", "names no zone with memory"),
    (TEXT + TEXT.replace("Node 0", "Node 1"), "several memory nodes"),
    (TEXT + TEXT, "overlap"),
    (TEXT[: TEXT.index("  pagesets")], "no line for start_pfn; is the file cut short"),
    (TEXT.replace("        min      22\n", ""), "zone DMA has no line for min"),
    (TEXT.replace("        low      27", "        low      7"), "min <= low <= high"),
    (TEXT.replace("managed  3840", "managed  384000"), "managed <= present"),
])
def test_text_that_is_no_zoneinfo(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "zoneinfo"
    path.write_text(text)
    with pytest.raises(InputError, match=told) as raised:
        read_zoneinfo(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_zoneinfo(tmp_path / "none")
    with pytest.raises(InputError, match="Is a directory"):
        read_zoneinfo(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not text"):
        read_zoneinfo(binary)
