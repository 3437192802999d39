"""The functions that an interrupt can ask for: a csd carries a number, never code.

Not modelled:  arbitrary function pointers.
"""

from __future__ import annotations

NOP = 0
DRAIN_LOCAL_PAGES = 1
END_REQUEST = 2
KEXEC_SMP_DOWN = 3

NAMES = ("nop", "drain_local_pages", "end_request", "kexec_smp_down")
"""As traces and reports print them."""


def function_name(number: int) -> str:
    return NAMES[number] if 0 <= number < len(NAMES) else f"function {number}"
