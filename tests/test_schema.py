"""Words and views: compiled and as the source stands, over memory of ours and of anybody's, they are the same."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuemu import layout, schema
from cpuemu.core import Ram, _stepped
from cpuemu.report.image import BufferMemory

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i32": 4, "i64": 8}


def as_it_stands() -> Any:
    """schema.py as a module of its own, not compiled."""
    spec = importlib.util.spec_from_file_location("schema_as_it_stands", ROOT / "cpuemu" / "schema.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their names
    spec.loader.exec_module(module)
    return module


def declared(form: Any) -> Any:
    class Sample(form.View, align=64):  # type: ignore[call-arg, misc]
        small = form.u8("a", "a")
        word = form.u32("a", "b")
        name = form.text(16, "a", "c")
        half = form.u16("a", "d")
        signed = form.i32("a", "e")
        long = form.u64("a", "f")
        far = form.i64("a", "g")
        several = form.array("i32", 3, "a", "h")

    return Sample


FORMS = {"compiled": schema, "source": as_it_stands()}
SAMPLES = {name: declared(form) for name, form in FORMS.items()}
MEMORIES = {"ram": Ram, "stepped ram": _stepped.Ram, "buffer": BufferMemory}


class Told:
    """Memory that says what it was asked for."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            return getattr(self.memory, name)(*arguments)

        return ask


class Overridden(Ram):
    """As CheckedRam does it."""

    asked: list[tuple[Any, ...]]

    def load(self, offset: int, size: int) -> int:
        self.asked.append(("load", offset, size))
        return super().load(offset, size)

    def store(self, offset: int, size: int, value: int) -> None:
        self.asked.append(("store", offset, size, value))
        super().store(offset, size, value)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_compiled() -> None:
    assert Path(str(schema.__file__)).name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    assert str(FORMS["source"].__file__).endswith("schema.py")


@given(st.sampled_from(["small", "word", "half", "long", "signed", "far"]), st.integers(-(1 << 65), 1 << 65),
       st.sampled_from(sorted(MEMORIES)), st.sampled_from(sorted(FORMS)))
def test_a_word_is_its_value_modulo_its_size(name: str, value: int, memory: str, form: str) -> None:
    buffer = bytearray(256)
    view = SAMPLES[form](MEMORIES[memory](buffer), 64)
    word = getattr(type(view), name)
    setattr(view, name, value)
    assert getattr(view, name) == int.from_bytes((value % (1 << 64)).to_bytes(8, "little")[:word.size], "little",
                                                 signed=word.ctype.startswith("i"))
    assert [place for place, byte in enumerate(buffer) if byte and not 0 <= place - 64 - word.offset < word.size] == []


@pytest.mark.parametrize("memory", MEMORIES)
def test_arrays_and_texts(form: str, memory: str) -> None:
    view = SAMPLES[form](MEMORIES[memory](bytearray(256)), 64, 1)
    view.several[1], view.several[2], view.name = -5, 7, "über alles, und mehr"
    assert list(view.several) == [0, -5, 7] and len(view.several) == 3
    assert view.several.whole() == 7 << 64 | (-5 & 0xFFFF_FFFF) << 32
    assert view.name == "über alles, un"
    for outside in (-1, 3, 1 << 70):
        with pytest.raises(IndexError, match="of an array word of 3"):
            view.several[outside]
        with pytest.raises(IndexError, match="of an array word of 3"):
            view.several[outside] = 1
    with pytest.raises(AttributeError, match="several is an array: set its elements"):
        view.several = 1


def test_a_class_gives_declarations_and_a_view_has_addresses(form: str) -> None:
    sample = SAMPLES[form]
    view = sample(Ram(bytearray(256)), 128, 2)
    assert sample.word.name == "word" and sample.word.ctype == "u32" and sample.word.doc == "b"
    assert [(word.name, word.offset) for word in sample.WORDS] == [
        ("small", 0), ("word", 4), ("name", 8), ("half", 24), ("signed", 28), ("long", 32), ("far", 40),
        ("several", 48)]
    assert sample.SIZE == 64
    assert {name: view.addr(getattr(sample, name)) for name in ("small", "half", "word", "long")} == {
        "small": 128 << 2, "half": 152 << 2 | 1, "word": 132 << 2 | 2, "long": 160 << 2 | 3}
    assert view.addr(sample.several, 2) == (128 + 48 + 8) << 2 | 2
    assert repr(view) == "sample[2]" and (view.base, view.index) == (128, 2)


def test_arrays_of_views(form: str) -> None:
    memory = BufferMemory(bytearray(256))
    few, many = (FORMS[form].Array(memory, SAMPLES[form], 64, count) for count in (3, 5000))
    assert few[2] is few[2] and many[2] is not many[2]
    assert [(view.base, view.index, view.mem) for view in few] == [(64, 0, memory), (128, 1, memory), (192, 2, memory)]
    assert len(many) == 5000 and many[4999].base == 64 + 4999 * 64
    assert few.struct is SAMPLES[form] and few.base == 64
    for outside in (-1, 3, 1 << 70):
        with pytest.raises(IndexError, match=re.escape(f"Sample[{outside}]: there are 3")):
            few[outside]


def test_any_memory_is_asked(form: str) -> None:
    memory = Told(BufferMemory(bytearray(256)))
    view = SAMPLES[form](memory, 64)
    view.word = 1 << 33 | 1
    view.several[1] = -1
    assert (view.word, view.several[1], view.name, view.several.whole()) == (1, -1, "", 0xFFFF_FFFF << 32)
    assert memory.asked == [("store", 68, 4, 1 << 33 | 1), ("store", 116, 4, -1), ("load", 68, 4), ("load", 116, 4),
                            ("load_bytes", 72, 16), ("load_bytes", 112, 12)]


def test_what_a_class_derived_from_ram_overrides_is_called(form: str) -> None:
    memory = Overridden(bytearray(256))
    memory.asked = []
    view = SAMPLES[form](memory, 64)
    view.long, view.several[0] = -1, 5
    assert (view.long, view.several[0]) == ((1 << 64) - 1, 5)
    assert memory.asked == [("store", 96, 8, -1), ("store", 112, 4, 5), ("load", 96, 8), ("load", 112, 4)]


@pytest.mark.parametrize("memory", MEMORIES)
def test_outside_of_the_memory_is_an_error(form: str, memory: str) -> None:
    view = SAMPLES[form](MEMORIES[memory](bytearray(60)), 40)
    for access in (lambda: view.long, lambda: view.name, lambda: view.several[2], lambda: setattr(view, "long", 1)):
        with pytest.raises(IndexError):
            access()


def test_a_value_that_is_no_number_is_an_error(form: str) -> None:
    view = SAMPLES[form](Ram(bytearray(256)), 64)
    view.word = 3
    with pytest.raises(TypeError):
        view.word = "4"
    assert view.word == 3


def test_what_the_core_is_built_with_comes_from_the_source(tmp_path: Path) -> None:
    """Before anything is compiled, and where what is compiled is of an older text: here of none at all."""
    made = shutil.ignore_patterns("*.so", "*.c", "layout.h", "layout.pxi")
    shutil.copytree(ROOT / "cpuemu", tmp_path / "cpuemu", ignore=made)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "cpuemu" / f"schema{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"of an older text")
    subprocess.run([sys.executable, "setup.py", "--version"], cwd=tmp_path, check=True, capture_output=True)
    for name in ("layout.h", "layout.pxi"):
        built = (ROOT / "cpuemu" / "core" / name).read_text()
        assert (tmp_path / "cpuemu" / "core" / name).read_text() == built
    assert FORMS["source"].tag(layout.REGIONS, layout.CONSTANTS) == layout.TAG
