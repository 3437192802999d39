"""Text of recordings: the layouts of three tools, the events that matter, and files that are no recordings."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from cpuemu.workloads.base import InputError
from cpuemu.workloads.ftrace import (
    CsdQueue,
    HotplugStep,
    IpiSend,
    LostEvents,
    PageAlloc,
    PageFree,
    Record,
    parse,
    read_trace,
)
from tests.recordings import DATA, RECORDINGS, alloc, free, recorded

pytestmark = pytest.mark.timeout(60)


def only(line: bytes) -> Record:
    (record,) = parse([line])
    return record


# --- layouts -----------------------------------------------------------------------------------------------

TRACE_PIPE = b"            prog-327     [005] d..3.    27.564987: "
LAYOUTS = {
    "trace_pipe": TRACE_PIPE,
    "trace_pipe of an old kernel": b"            prog-327   [005]    27.564987: ",
    "trace_pipe with thread groups": b"            prog-327     (    300) [005] d..3.    27.564987: ",
    "trace-cmd report": b"            prog-327   [005]    27.564987: ",
    "trace-cmd report with latency flags": b"            prog-327   [005] d..31    27.564987: ",
    "nanoseconds": b"            prog-327   [005] .....    27.564987000: ",
    "perf script": b"prog   327 [005]    27.564987: kmem:",
    "perf script with pid and tid": b"prog   327/327   [005]    27.564987:       kmem:",
    "a name with spaces": b"   Web Content-327     [005] d..3.    27.564987: ",
    "a name with brackets": b"   kworker/[07]: x-327 [005] d..3.    27.564987: ",
    "a name with a colon": b"   a: b: c-327     [005] d..3.    27.564987: ",
    "a name that is no text": b"   \xff\xfe\xfa-327     [005] d..3.    27.564987: ",
}


@pytest.mark.parametrize("head", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(head: bytes) -> None:
    fields = b"page=00000000ce9215c2 pfn=0x76d0 order=1 migratetype=0 gfp_flags=GFP_KERNEL|__GFP_ZERO"
    line = head + b"mm_page_alloc: " + fields
    assert only(line) == PageAlloc(1, 27_564_987_000, 5, 0x76D0, 1, 0, "GFP_KERNEL|__GFP_ZERO")


def test_padding_after_the_event() -> None:
    """trace-cmd report aligns the fields."""
    line = b"prog-327   [005]    27.564987: mm_page_free:         page=0xffffea0000 pfn=0x10 order=0"
    assert only(line) == PageFree(1, 27_564_987_000, 5, 0x10, 0)


def test_clock_without_fraction() -> None:
    record = only(b"prog-327   [005] .....  27564987: mm_page_free: page=(____ptrval____) pfn=16 order=0")
    assert isinstance(record, PageFree)
    assert record.time_ns == 27_564_987 * 10**9


# --- events ------------------------------------------------------------------------------------------------


def test_events() -> None:
    lines = [
        TRACE_PIPE + b"ipi_send_cpu: cpu=2 callsite=wakeup_preempt+0x37/0x70 callback=0x0",
        TRACE_PIPE + b"csd_queue_cpu: cpu=1 callsite=ttwu_queue_wakelist+0xdd/0x100 func=f csd=000000007dffd333",
        TRACE_PIPE + b"cpuhp_enter: cpu: 0001 target: 145 step: 236 (cpuhp_kick_ap_work)",
        TRACE_PIPE + b"cpuhp_multi_enter: cpu: 0001 target: 236 step: 152 (blk_mq_hctx_notify_online)",
        TRACE_PIPE + b"cpuhp_exit:  cpu: 0001  state: 234 step: 235 ret: 0",
        TRACE_PIPE + b"mm_page_free_batched: page=00000000ce9215c2 pfn=0x76d0",
        TRACE_PIPE + b"mm_page_free_direct: page=ffffea0000 pfn=30416 order=2",
        b"CPU:3 [LOST 17 EVENTS]",
        b"# tracer: nop",
        b"",
        b"cpus=8",
    ]
    time = 27_564_987_000
    assert list(parse(lines)) == [
        IpiSend(1, time, 5, 2, "0x0"),
        CsdQueue(2, time, 5, 1),
        HotplugStep(3, time, 5, 1, up=False),
        HotplugStep(4, time, 5, 1, up=True),
        PageFree(7, time, 5, 30416, 2),
        LostEvents(8, 17),
    ]


@pytest.mark.parametrize("page", ["page=0000000000000000 pfn=0x0", "page=(null) pfn=0"])
def test_allocation_that_failed(page: str) -> None:
    record = only(TRACE_PIPE + f"mm_page_alloc: {page} order=0 migratetype=0 gfp_flags=GFP_NOWAIT".encode())
    assert isinstance(record, PageAlloc)
    assert record.pfn is None


@pytest.mark.parametrize("name", RECORDINGS)
def test_nothing_is_missed(name: str) -> None:
    """As many records as there are lines with the event's name in them."""
    lines = recorded(name)
    kinds = {
        "PageAlloc": b"mm_page_alloc: ", "PageFree": b"mm_page_free: ", "CsdQueue": b"csd_queue_cpu: ",
        "IpiSend": b"ipi_send_cpu: ", "HotplugStep": b"cpuhp_enter: ",
    }
    expected = {kind: sum(text in line for line in lines) for kind, text in kinds.items()}
    expected["HotplugStep"] += sum(b"cpuhp_multi_enter: " in line for line in lines)
    assert Counter(type(record).__name__ for record in parse(lines)) == {k: n for k, n in expected.items() if n}


def test_line_numbers_are_those_of_the_file() -> None:
    text = (DATA / "linux-6.1-work.txt").read_bytes().split(b"\n")
    for record in read_trace(DATA / "linux-6.1-work.txt"):
        assert f"[{getattr(record, 'cpu', 0):03d}]".encode() in text[record.line - 1]
        assert isinstance(record, PageFree) == (b": mm_page_free: " in text[record.line - 1])


@pytest.mark.parametrize("fields", [
    b"mm_page_alloc: page=00000000ce9215c2 pfn=0x76d0 order=1 migr",
    b"mm_page_free: page=00000000ce9215c2 pfn=0x order=1",
    b"mm_page_free: page=00000000ce9215c2 pfn=zz order=1",
    b"csd_queue_cpu: cpu=",
    b"ipi_send_cpu: cpu=99999 callsite=x callback=0x0",
    b"cpuhp_enter: cpu: 0001 target:",
])
def test_line_that_is_damaged(fields: bytes) -> None:
    with pytest.raises(InputError, match=rf"^here: line 2: {fields.split(b':')[0].decode()} cannot be read"):
        list(parse([b"# tracer: nop", TRACE_PIPE + fields], "here"))


def test_line_without_cpu() -> None:
    """perf script --fields without cpu."""
    with pytest.raises(InputError, match="line 1: no CPU number and time before mm_page_free"):
        only(b"prog   327    27.564987: kmem:mm_page_free: page=0x0 pfn=0x76d0 order=0")


# --- files -------------------------------------------------------------------------------------------------

LINES = [alloc(0, 1.0, 0x100), free(1, 1.5, 0x100)]
TEXT = b"\n".join(LINES) + b"\n"
PACKERS = {
    "trace.txt": lambda data: data,
    "trace.txt.xz": lzma.compress,
    "trace.txt.gz": gzip.compress,
    "trace.txt.bz2": bz2.compress,
    "trace.txt.zst": zstandard.compress,
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("members", [1, 3])
def test_packed(tmp_path: Path, name: str, members: int) -> None:
    path = tmp_path / name
    path.write_bytes(PACKERS[name](TEXT) * members)
    assert [type(record) for record in read_trace(path)] == [PageAlloc, PageFree] * members


def test_contents_decide_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(TEXT))
    assert len(list(read_trace(path))) == 2


def test_large_file_in_pieces(tmp_path: Path) -> None:
    """Lines that lie across the pieces in which a file is read."""
    path = tmp_path / "trace.txt"
    path.write_bytes(TEXT * 15_000)
    assert sum(1 for _ in read_trace(path)) == 30_000


@pytest.mark.parametrize("name", [name for name in PACKERS if name != "trace.txt"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_packed_and_cut_short(tmp_path: Path, name: str, share: float) -> None:
    data = PACKERS[name](b"".join(b"%d\n" % (number * 7919) for number in range(20_000)) + TEXT)
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut short"):
        list(read_trace(path))


def test_packed_and_damaged(tmp_path: Path) -> None:
    data = bytearray(lzma.compress(TEXT * 1000))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "trace.txt.xz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        list(read_trace(path))


@pytest.mark.parametrize(("content", "told"), [
    (b"", "the file is empty"),
    (TEXT[:-1], "cut short: line 2, the last one, has no end"),
    (TEXT[:-20], "cut short: line 2"),
    (b"\x7fELF" + bytes(100), "not a text trace"),
    (b"\x17\x08Dtracing6\0\0", "trace-cmd report"),
    (b"PERFILE2" + bytes(100), "perf script"),
    (b"x" * 3_000_000, "line 1 has no end"),
    (lzma.compress(bytes(1000)), "not a text trace"),
])
def test_file_that_is_no_trace(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told) as raised:
        list(read_trace(path))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(read_trace(tmp_path / "trace.txt"))
    with pytest.raises(InputError, match="Is a directory"):
        list(read_trace(tmp_path))
