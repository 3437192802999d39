# The types that make schema.py fast where it is compiled; what it means stands there.

from libc.stdint cimport int64_t, uint64_t
cimport cython


cdef class DirectMemory:
    cpdef uint64_t load(self, Py_ssize_t offset, int size) except? 0xBAD_0BAD_0BAD_0BAD
    cpdef store(self, Py_ssize_t offset, int size, value)


cdef class Place:
    cdef readonly object mem
    cdef readonly Py_ssize_t base
    cdef DirectMemory _direct

    cdef int _lie(self, mem, Py_ssize_t base) except -1
    @cython.locals(value=uint64_t)
    cdef object _load(self, Py_ssize_t offset, int size, bint signed)
    cdef int _store(self, Py_ssize_t offset, int size, value) except -1


@cython.locals(top=uint64_t)
cdef int64_t _signed(uint64_t value, int size)


cdef class Words(Place):
    cdef readonly Py_ssize_t count
    cdef readonly int size
    cdef readonly bint signed

    cdef Py_ssize_t _offset(self, index) except -1


cdef class Word:
    cdef readonly str ctype, writer, doc, name
    cdef readonly Py_ssize_t count
    cdef readonly int size, log2_size
    cdef readonly bint signed
    cdef public Py_ssize_t offset

    cdef object _read(self, Place place)
    cdef int _write(self, Place place, value) except -1


cdef class ArrayWord(Word):
    pass


cdef class TextWord(Word):
    pass


cdef class Struct(Place):
    cdef readonly Py_ssize_t index

    cdef object _addr(self, Word word, Py_ssize_t element)


cdef class Row:
    cdef readonly object mem, struct
    cdef readonly Py_ssize_t base, count
    cdef list _views

    cdef object _view(self, index)
