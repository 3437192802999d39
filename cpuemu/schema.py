# cython: annotation_typing=False
"""How shared memory is declared: words with a type, a writer and a rule; structs; regions.

A struct is a class whose attributes are words.  Read on an instance (a *view* of some memory), a word gives
its value; read on the class, it gives its declaration.  From the declarations come the offsets, the accessors,
the C header of the compiled core, the documentation table, and the tag that refuses a foreign image.

    class Pcp(View):
        count = u32("its CPU, irqs off", "pages on the three lists")

    pcp.count                 # load (acquire)
    pcp.count = 5             # store (release)
    pcp.addr(Pcp.count)       # the word's address, as points and waits want it

Every access passes here, so this file is compiled as it stands; schema.pxd gives the types.  setup.py imports it
uncompiled: the rest of the build comes out of it.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

Address = int
"""A word's place: byte offset in RAM times four, plus log2 of its size in bytes."""

CACHE_LINE = 64


class Memory(Protocol):
    """What a view needs of the memory below it (arch.ram, or bytes read from a dump)."""

    def load(self, offset: int, size: int) -> int: ...
    def store(self, offset: int, size: int, value: int) -> None: ...
    def load_bytes(self, offset: int, size: int) -> bytes: ...
    def store_bytes(self, offset: int, data: bytes) -> None: ...


class DirectMemory:
    """Memory whose words a compiled view reaches without a Python call: the machine's own (core.Ram) is such."""

    def load(self, offset: int, size: int) -> int:
        """An unsigned word (acquire)."""
        raise NotImplementedError

    def store(self, offset: int, size: int, value: int) -> None:
        """Store a word (release); the value is taken modulo the word's size."""
        raise NotImplementedError


class Place:
    """Some memory, from a byte on."""

    __slots__ = ("_direct", "base", "mem")

    def __init__(self, mem: Memory, base: int) -> None:
        self._lie(mem, base)

    def _lie(self, mem: Memory, base: int) -> None:
        self.mem, self.base = mem, base
        self._direct = mem if isinstance(mem, DirectMemory) else None

    def _load(self, offset: int, size: int, signed: bool) -> int:
        if self._direct is None:
            value = self.mem.load(self.base + offset, size)
        else:
            value = self._direct.load(self.base + offset, size)
        if signed:
            return _signed(value, size)
        return value

    def _store(self, offset: int, size: int, value: int) -> None:
        if self._direct is None:
            self.mem.store(self.base + offset, size, value)
        else:
            self._direct.store(self.base + offset, size, value)


def _signed(value: int, size: int) -> int:
    top = value >> size * 8 - 1 << size * 8 - 1
    return value - 2 * top


class Words(Place):
    """The elements of an array word of one view."""

    __slots__ = ("count", "signed", "size")

    def __init__(self, mem: Memory, base: int, word: Word) -> None:
        self._lie(mem, base)
        self.size, self.count, self.signed = word.size, word.count, word.signed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return self._load(self._offset(index), self.size, self.signed)

    def __setitem__(self, index: int, value: int) -> None:
        self._store(self._offset(index), self.size, value)

    def _offset(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(f"element {index} of an array word of {self.count}")
        return index * self.size

    def __iter__(self) -> Iterator[int]:
        return (self[index] for index in range(self.count))

    def whole(self) -> int:
        """All elements as one number, the first one lowest: each is read whole, one after the other."""
        return int.from_bytes(self.mem.load_bytes(self.base, self.count * self.size), "little")


class Word:
    """One declared word, or a fixed array of them (``count`` > 1: see ArrayWord)."""

    def __init__(self, ctype: str, writer: str, doc: str, count: int = 1) -> None:
        self.ctype, self.writer, self.doc, self.count = ctype, writer, doc, count
        self.size = int(ctype.lstrip("ui")) // 8
        self.log2_size = self.size.bit_length() - 1
        self.signed = ctype.startswith("i")
        self.name = ""
        self.offset = -1

    def __set_name__(self, owner: type[View], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, view: None, owner: type[View]) -> Word: ...
    @overload
    def __get__(self, view: View, owner: type[View]) -> int: ...
    def __get__(self, view: View | None, owner: type[View]) -> Word | int:
        return self if view is None else self._read(view)

    def __set__(self, view: View, value: int) -> None:
        self._write(view, value)

    def _read(self, place: Place) -> Any:
        return place._load(self.offset, self.size, self.signed)

    def _write(self, place: Place, value: Any) -> None:
        place._store(self.offset, self.size, value)


class ArrayWord(Word):
    """A fixed array of words; on a view it gives an indexable ``Words``."""

    @overload  # type: ignore[override]
    def __get__(self, view: None, owner: type[View]) -> ArrayWord: ...
    @overload
    def __get__(self, view: View, owner: type[View]) -> Words: ...
    def __get__(self, view: View | None, owner: type[View]) -> ArrayWord | Words:
        return self if view is None else self._read(view)

    def _read(self, place: Place) -> Words:
        return Words(place.mem, place.base + self.offset, self)

    def _write(self, place: Place, value: Any) -> None:
        raise AttributeError(f"{self.name} is an array: set its elements")


class TextWord(Word):
    """Bytes holding UTF-8 text, ended by the first zero; longer text is cut."""

    def __init__(self, writer: str, doc: str, count: int) -> None:
        super().__init__("u8", writer, doc, count)

    @overload  # type: ignore[override]
    def __get__(self, view: None, owner: type[View]) -> TextWord: ...
    @overload
    def __get__(self, view: View, owner: type[View]) -> str: ...
    def __get__(self, view: View | None, owner: type[View]) -> TextWord | str:
        return self if view is None else self._read(view)

    def __set__(self, view: View, value: str) -> None:  # type: ignore[override]
        self._write(view, value)

    def _read(self, place: Place) -> str:
        raw: bytes = place.mem.load_bytes(place.base + self.offset, self.count)
        return raw.split(b"\0", 1)[0].decode("utf-8", "replace")

    def _write(self, place: Place, value: str) -> None:
        raw = value.encode()[: self.count - 1] + b"\0"  # what stands behind it from before is no text any more
        place.mem.store_bytes(place.base + self.offset, raw)


def u8(writer: str, doc: str) -> Word:
    return Word("u8", writer, doc)


def u16(writer: str, doc: str) -> Word:
    return Word("u16", writer, doc)


def u32(writer: str, doc: str) -> Word:
    return Word("u32", writer, doc)


def u64(writer: str, doc: str) -> Word:
    return Word("u64", writer, doc)


def i32(writer: str, doc: str) -> Word:
    return Word("i32", writer, doc)


def i64(writer: str, doc: str) -> Word:
    return Word("i64", writer, doc)


def array(ctype: str, count: int, writer: str, doc: str) -> ArrayWord:
    return ArrayWord(ctype, writer, doc, count)


def text(count: int, writer: str, doc: str) -> TextWord:
    """``count`` is a multiple of 8."""
    return TextWord(writer, doc, count)


class Struct(Place):
    """What all views have, whatever their words."""

    __slots__ = ("index",)

    def __init__(self, mem: Memory, base: int, index: int = 0) -> None:
        self._lie(mem, base)
        self.index = index

    def addr(self, word: Word, element: int = 0) -> Address:
        """The address of one of this view's words, as ``point`` and ``wait_until`` take it."""
        return self._addr(word, element)

    def _addr(self, word: Word, element: int) -> Address:
        return (self.base + word.offset + element * word.size) << 2 | word.log2_size

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}[{self.index}]"


class View(Struct):
    """A struct laid over some memory.  Subclasses declare words; see the module's docstring."""

    __slots__ = ()
    SIZE = 0
    WORDS: tuple[Word, ...] = ()

    def __init_subclass__(cls, align: int = 8, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        offset = 0
        words = [word for word in vars(cls).values() if isinstance(word, Word)]
        for word in words:
            unit = 8 if isinstance(word, TextWord) else word.size
            offset = _round_up(offset, unit)
            word.offset = offset
            offset += word.size * word.count
        cls.WORDS = tuple(words)
        cls.SIZE = _round_up(offset, align)


V = TypeVar("V", bound=View)


class Row:
    """All views of one region.  Small regions keep their views; large ones make them on demand."""

    def __init__(self, mem: Memory, struct: type[View], base: int, count: int) -> None:
        self.mem, self.struct, self.base, self.count = mem, struct, base, count
        self._views: list[View | None] = [None] * count if count <= 4096 else []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self._view(index)

    def _view(self, index: int) -> View:
        if not 0 <= index < self.count:
            raise IndexError(f"{self.struct.__name__}[{index}]: there are {self.count}")
        if not self._views:
            return self.struct(self.mem, self.base + index * self.struct.SIZE, index)
        view = self._views[index]
        if view is None:
            view = self._views[index] = self.struct(self.mem, self.base + index * self.struct.SIZE, index)
        return view

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(self.count))


class Array(Row, Generic[V]):
    """The same, and a type checker knows of which struct."""

    if TYPE_CHECKING:
        struct: type[V]

        def __init__(self, mem: Memory, struct: type[V], base: int, count: int) -> None: ...
        def __getitem__(self, index: int) -> V: ...
        def __iter__(self) -> Iterator[V]: ...


@dataclass(frozen=True)
class Region:
    """An array of one struct in RAM.  ``count`` names dimensions, joined by ``*`` and ``+``: "cpus*zones"."""

    name: str
    struct: type[View]
    count: str
    doc: str

    def size(self, dims: Mapping[str, int]) -> int:
        """How many elements the region has for these dimensions."""
        total = 0
        for term in self.count.split("+"):
            product = 1
            for factor in term.split("*"):
                product *= int(factor) if factor.isdigit() else dims[factor]
            total += product
        return total


@dataclass(frozen=True)
class Placed:
    """Where a region lies: its first byte and its number of elements."""

    region: Region
    base: int
    count: int


def place(regions: tuple[Region, ...], dims: Mapping[str, int]) -> tuple[dict[str, Placed], int]:
    """Lay the regions out one after the other; return them by name, and the total size in bytes."""
    placed: dict[str, Placed] = {}
    base = 0
    for region in regions:
        count = region.size(dims)
        placed[region.name] = Placed(region, base, count)
        base = _round_up(base + count * region.struct.SIZE, CACHE_LINE)
    return placed, _round_up(base, 4096)


def tag(regions: tuple[Region, ...], constants: tuple[type[enum.IntEnum], ...]) -> int:
    """A number that changes whenever the declaration does: an image with another one is refused."""
    digest = hashlib.sha256()
    for region in regions:
        digest.update(f"{region.name}:{region.count}:{region.struct.SIZE};".encode())
        for word in region.struct.WORDS:
            digest.update(f"{word.name}:{word.ctype}:{word.count}@{word.offset},".encode())
    for constant in constants:
        digest.update(f"{constant.__name__}:{[(name, int(c)) for name, c in constant.__members__.items()]}".encode())
    return int.from_bytes(digest.digest()[:8], "little")


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
