"""Kernel patches: they fit or are refused, and the kernel that runs is the patched one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuemu import patches
from cpuemu.errors import UserError

PATCH = """\
--- a/cpuemu/policies/on_each_cpu.py
+++ b/cpuemu/policies/on_each_cpu.py
@@ -1,1 +1,1 @@
-    name = "on-each-cpu"
+    name = "patched"
"""


def test_a_patch_is_found_by_its_lines_and_can_be_taken_back() -> None:
    change, = patches.changes(PATCH)
    assert change.module == "cpuemu.policies.on_each_cpu"
    assert 'name = "patched"' in change.after and 'name = "patched"' not in change.before
    forth, back = change.diff(), change.diff(backwards=True)
    assert '+    name = "patched"' in forth and '-    name = "patched"' in back
    assert patches.changed_lines(forth) == patches.changed_lines(back) == 2
    assert patches.changes(forth)[0].after == change.after


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "there is no change in it"),
    ("nothing\n", "there is no change in it"),
    (PATCH.replace("on_each_cpu.py", "no_such.py"), "this cpuemu has no such file"),
    (PATCH.replace("cpuemu/policies", "cpuemu/arch"), "is no file of the emulated kernel"),
    (PATCH.replace("cpuemu/policies", "cpuemu/kernel/../arch"), "is no file of the emulated kernel"),
    (PATCH.replace('-    name = "on', '-    name = "off'), "the old lines of hunk 1 stand nowhere"),
    (PATCH.replace('-    name = "on-each-cpu"', "-"), "stand 7 times"),
    (PATCH.replace("@@ -1,1 +1,1 @@", "@@ -1,9 +1,9 @@"), "not a unified diff"),
])
def test_a_patch_that_does_not_fit_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        patches.changes(text, "--patch mine.diff")
    assert str(refused.value).startswith("--patch mine.diff: ") and sentence in str(refused.value)


@given(st.text(alphabet="-+@ \na1,/bcpuemkrnl.y", max_size=200))
def test_whatever_a_patch_is_it_gets_a_sentence(text: str) -> None:
    with contextlib.suppress(UserError):
        patches.changes(text)


def test_the_kernel_that_is_imported_is_the_patched_one(tmp_path: Path) -> None:
    (tmp_path / "one.diff").write_text(PATCH)
    program = ("import sys; from pathlib import Path; from cpuemu import patches;"
               "patches.apply(patches.read(Path(sys.argv[1])));"
               "from cpuemu.policies.on_each_cpu import OnEachCpu; print(OnEachCpu.name, bool(patches.applied()));"
               "patches.apply(patches.read(Path(sys.argv[1])))")
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "one.diff"], capture_output=True, text=True,
                         timeout=60)
    assert run.stdout == "patched True\n"
    assert "AssertionError: cpuemu.policies.on_each_cpu: imported before the patch came" in run.stderr
