# RAM as Python sees it: bounds-checked loads and stores with acquire and release, and atomics.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyObject_GetBuffer, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from libc.string cimport memcmp, memcpy
from cpuemu.schema cimport DirectMemory

cdef Py_ssize_t PAGE = 4096


cdef extern from *:
    """
    static inline uint64_t em_folded(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t folded "em_folded"(uint64_t a, uint64_t b) nogil


cdef class Ram(DirectMemory):
    """The machine's memory over a writable buffer.  An access outside of it raises IndexError."""

    cdef Py_buffer view
    cdef char *base
    cdef readonly Py_ssize_t size

    def __cinit__(self, buffer):
        PyObject_GetBuffer(buffer, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.base = <char *>self.view.buf
        self.size = self.view.len

    def __dealloc__(self):
        PyBuffer_Release(&self.view)

    cdef char *place(self, Py_ssize_t offset, int size) except NULL:
        if offset < 0 or offset + size > self.size:
            raise IndexError(f"RAM+{offset:#x} (+{size}) is outside of the machine's {self.size:#x} bytes")
        return self.base + offset

    cdef char *word(self, unsigned long long address) except NULL:
        cdef int size = 1 << (address & 3)
        if (address >> 2) & (size - 1):
            raise IndexError(f"RAM+{address >> 2:#x} is no place for a word of {size} bytes")
        return self.place(<Py_ssize_t>(address >> 2), size)

    cpdef uint64_t load(self, Py_ssize_t offset, int size) except? 0xBAD_0BAD_0BAD_0BAD:
        """An unsigned word (acquire)."""
        return em_load(self.place(offset, size), size)

    cpdef store(self, Py_ssize_t offset, int size, value):
        """Store a word (release); the value is taken modulo the word's size."""
        em_store(self.place(offset, size), size, PyLong_AsUnsignedLongLongMask(value))

    def load_bytes(self, Py_ssize_t offset, Py_ssize_t size):
        """A copy; words of 8 bytes in their places are read whole."""
        cdef char *here = self.place(offset, 0)
        cdef bytes copy
        cdef char *there
        self.place(offset + size, 0)
        copy = PyBytes_FromStringAndSize(NULL, size)
        there = PyBytes_AS_STRING(copy)
        while size >= 8 and (<size_t>here & 7) == 0:
            (<uint64_t *>there)[0] = em_load(here, 8)
            here, there, size = here + 8, there + 8, size - 8
        memcpy(there, here, size)
        return copy

    def whole(self):
        """A copy of all of it.  Context: nobody writes."""
        return PyBytes_FromStringAndSize(self.base, self.size)

    def digest(self, const int64_t[:] places, const uint64_t[:] masks):
        """128 bits of the words at some places, each seen through its mask.  Context: nobody writes."""
        cdef uint64_t one = 0x9E3779B97F4A7C15, other = 0xC2B2AE3D27D4EB4F, word
        cdef Py_ssize_t number
        for number in range(places.shape[0]):
            word = (<uint64_t *>self.place(places[number], 8))[0] & masks[number]
            one = folded(one ^ word, 0xD6E8FEB86659FD93)
            other = folded(other + word, 0xA0761D6478BD642F) ^ one
        return (<object>one) << 64 | other

    def restore(self, bytes copy):
        """All of it as in a copy; pages that are as they were are not written.  The number of those that were not.

        Context: nobody else reads or writes.
        """
        cdef Py_ssize_t offset = 0, size
        cdef char *source = PyBytes_AS_STRING(copy)
        cdef int written = 0
        if PyBytes_GET_SIZE(copy) != self.size:
            raise IndexError(f"a copy of {PyBytes_GET_SIZE(copy):#x} bytes, and RAM has {self.size:#x}")
        while offset < self.size:
            size = min(PAGE, self.size - offset)
            if memcmp(self.base + offset, source + offset, size):
                memcpy(self.base + offset, source + offset, size)
                written += 1
            offset += size
        return written

    def same(self, bytes copy, bytes mask):
        """Whether it is as in a copy, in the bits of ``mask``.  Context: nobody writes."""
        cdef Py_ssize_t offset = 0
        cdef const char *then = PyBytes_AS_STRING(copy)
        cdef const char *bits = PyBytes_AS_STRING(mask)
        if PyBytes_GET_SIZE(copy) != self.size or PyBytes_GET_SIZE(mask) != self.size or self.size & 7:
            raise IndexError(f"a copy of {PyBytes_GET_SIZE(copy):#x} bytes, a mask of {PyBytes_GET_SIZE(mask):#x}, and "
                             f"RAM has {self.size:#x}")
        while offset < self.size:
            if ((<const uint64_t *>(self.base + offset))[0] ^ (<const uint64_t *>(then + offset))[0]) & (
                    <const uint64_t *>(bits + offset))[0]:
                return False
            offset += 8
        return True

    def store_bytes(self, Py_ssize_t offset, bytes data):
        """Store a text: not whole to who reads it meanwhile."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.place(offset + size, 0)
        memcpy(self.place(offset, 0), PyBytes_AS_STRING(data), size)

    def read(self, unsigned long long address):
        """The word at an address (acquire)."""
        return em_load(self.word(address), 1 << (address & 3))

    def write(self, unsigned long long address, value):
        """Store the word at an address (release)."""
        em_store(self.word(address), 1 << (address & 3), PyLong_AsUnsignedLongLongMask(value))

    cdef char *atomic(self, unsigned long long address) except NULL:
        if not address & 2:
            raise TypeError("atomics are for words of 4 and 8 bytes")
        return self.word(address)

    def cmpxchg(self, unsigned long long address, old, new):
        """Store ``new`` if the word is ``old``; whether it was."""
        return em_cmpxchg(self.atomic(address), 1 << (address & 3), PyLong_AsUnsignedLongLongMask(old),
                          PyLong_AsUnsignedLongLongMask(new))

    def xchg(self, unsigned long long address, value):
        """Store and return what was there (full barrier)."""
        return em_xchg(self.atomic(address), 1 << (address & 3), PyLong_AsUnsignedLongLongMask(value))

    def add(self, unsigned long long address, delta):
        """Add (negative too, modulo the word's size) and return the new value (full barrier)."""
        cdef int size = 1 << (address & 3)
        cdef uint64_t value = em_add(self.atomic(address), size, PyLong_AsUnsignedLongLongMask(delta))
        return value & 0xFFFFFFFF if size == 4 else value

    def set_bits(self, unsigned long long address, bits):
        """Set bits; the old value."""
        return em_or(self.atomic(address), 1 << (address & 3), <uint64_t>bits)

    def clear_bits(self, unsigned long long address, bits):
        """Clear bits; the old value."""
        return em_andnot(self.atomic(address), 1 << (address & 3), <uint64_t>bits)

    def fence(self):
        """A full memory barrier."""
        em_fence()

    def holds(self, unsigned long long address, int op, value):
        """Whether ``word op value`` (layout.Op) is true now."""
        return compare(em_load(self.word(address), 1 << (address & 3)), op, PyLong_AsUnsignedLongLongMask(value))


cdef inline bint compare(uint64_t word, int op, uint64_t value) noexcept nogil:
    if op == OP_EQ: return word == value
    if op == OP_NE: return word != value
    if op == OP_GE: return word >= value
    if op == OP_LE: return word <= value
    if op == OP_MASK_CLEAR: return word & value == 0
    if op == OP_MASK_SET: return word & value != 0
    return False
