"""Names of allocation flags in traces, old and new, as the bits that mean something here."""

from __future__ import annotations

from functools import cache

from cpuemu.layout import Gfp, MigrateType

KERNEL = Gfp.WAIT | Gfp.IO | Gfp.FS

_BITS: dict[str, int] = {
    "GFP_KERNEL": KERNEL, "GFP_KERNEL_ACCOUNT": KERNEL, "GFP_USER": KERNEL, "GFP_HIGHUSER": KERNEL,
    "GFP_HIGHUSER_MOVABLE": KERNEL, "GFP_TEMPORARY": KERNEL, "GFP_NOFS": Gfp.WAIT | Gfp.IO, "GFP_NOIO": Gfp.WAIT,
    "GFP_ATOMIC": Gfp.HIGH, "GFP_NOWAIT": 0, "GFP_TRANSHUGE": KERNEL | Gfp.NORETRY, "GFP_TRANSHUGE_LIGHT": 0,
    "GFP_DMA": Gfp.DMA, "GFP_DMA32": Gfp.DMA32, "__GFP_DMA": Gfp.DMA, "__GFP_DMA32": Gfp.DMA32,
    "GFP_WAIT": Gfp.WAIT, "__GFP_WAIT": Gfp.WAIT, "__GFP_DIRECT_RECLAIM": Gfp.WAIT, "__GFP_RECLAIM": Gfp.WAIT,
    "GFP_HIGH": Gfp.HIGH, "__GFP_HIGH": Gfp.HIGH, "GFP_IO": Gfp.IO, "__GFP_IO": Gfp.IO,
    "GFP_FS": Gfp.FS, "__GFP_FS": Gfp.FS,
    "GFP_COLD": Gfp.COLD, "__GFP_COLD": Gfp.COLD, "GFP_NOWARN": Gfp.NOWARN, "__GFP_NOWARN": Gfp.NOWARN,
    "GFP_REPEAT": Gfp.REPEAT, "__GFP_REPEAT": Gfp.REPEAT, "__GFP_RETRY_MAYFAIL": Gfp.REPEAT,
    "GFP_NOFAIL": Gfp.NOFAIL, "__GFP_NOFAIL": Gfp.NOFAIL, "GFP_NORETRY": Gfp.NORETRY, "__GFP_NORETRY": Gfp.NORETRY,
}


@cache
def gfp_bits(text: str) -> int:
    """Bits of ``GFP_KERNEL|__GFP_ZERO``; names without a meaning here are 0, a bare number is GFP_KERNEL."""
    bits = KERNEL if text[:1].isdigit() else 0
    for name in text.split("|"):
        bits |= _BITS.get(name, 0)
    return bits


@cache
def mobility(text: str) -> MigrateType | None:
    """The migratetype that the flags ask for; None where they are only a number."""
    if text[:1].isdigit():
        return None
    if "MOVABLE" in text or "TRANSHUGE" in text:
        return MigrateType.MOVABLE
    if "RECLAIMABLE" in text or "TEMPORARY" in text:
        return MigrateType.RECLAIMABLE
    return MigrateType.UNMOVABLE
