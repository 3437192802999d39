# The stack of a running function, frame by frame: asked for at every wait, and at every point where stacks are kept.

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from "Python.h":
    ctypedef struct PyCodeObject
    ctypedef struct PyFrameObject
    PyCodeObject *PyFrame_GetCode(PyFrameObject *frame)
    PyFrameObject *PyFrame_GetBack(PyFrameObject *frame)
    int PyFrame_GetLasti(PyFrameObject *frame)


cdef class Backtrace:
    """The frames of a stack, each as ``place`` calls it: asked once for each instruction."""

    cdef object place
    cdef dict known

    def __init__(self, place):
        self.place, self.known = place, {}

    def of(self, frame, int most):
        """From ``frame`` outwards, newest first, at most so many; a frame whose place is empty is left out."""
        cdef list found = []
        cdef PyCodeObject *code
        cdef PyFrameObject *outer
        while frame is not None and len(found) < most:
            code = PyFrame_GetCode(<PyFrameObject *>frame)
            Py_XDECREF(<PyObject *>code)  # the frame holds it
            key = <size_t>code, PyFrame_GetLasti(<PyFrameObject *>frame)
            known = self.known.get(key)
            if known is None:
                known = self.known[key] = <object>code, self.place(frame)  # held, its address remains its own
            if (<tuple>known)[1]:
                found.append((<tuple>known)[1])
            outer = PyFrame_GetBack(<PyFrameObject *>frame)
            frame = <object>outer if outer else None
            Py_XDECREF(<PyObject *>outer)
        return found
