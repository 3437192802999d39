# What stands on a stack of Python's: a frame's variables, and what it has in hand at its place (arch/stacks.py).
#
# CPython shows the variables of a frame that has not ended, but not its operands: the list that a loop is in the
# middle of is one.  Both lie in one array, whose layout is CPython's own affair, and known here for 3.11, 3.12 and 3.13.

from cpython.ref cimport PyObject

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030E0000
    #ifndef Py_BUILD_CORE
    #define Py_BUILD_CORE 1
    #endif
    #include "internal/pycore_frame.h"
    static PyObject **em_slots(PyObject *frame, int *variables) {
        _PyInterpreterFrame *here = ((PyFrameObject *)frame)->f_frame;
    #if PY_VERSION_HEX < 0x030D0000
        *variables = here->f_code->co_nlocalsplus;
    #else
        *variables = ((PyCodeObject *)here->f_executable)->co_nlocalsplus;
    #endif
        return here->localsplus;
    }
    #else
    static PyObject **em_slots(PyObject *frame, int *variables) { return NULL; }
    #endif
    """
    PyObject **em_slots(PyObject *frame, int *variables)


def slots_of(frame, int depth):
    """A frame's variables, cells among them, then the first ``depth`` of what it has in hand; None for an empty one.

    Context: the frame has not ended, and has that many in hand.
    """
    cdef int variables = 0, number
    cdef PyObject **slots = em_slots(<PyObject *>frame, &variables)
    if slots == NULL:
        raise NotImplementedError("frames of this Python are not known")
    return [<object>slots[number] if slots[number] != NULL else None for number in range(variables + depth)]
