# The stepped form: whoever asked for it is called before each store of a leaf.  The fast form never calls.

cdef object _step = None
cdef Ram _steps_in = None


cdef int _before_store(const char *label, const void *place, int size) except -1:
    if _step is not None:
        _step(label.decode(), (<uint64_t>(<const char *>place - _steps_in.base) << 2) | em_log2(size))
    return 0


cpuemu_step = _before_store


def set_step(step, Ram ram=None):
    """Before each store of a leaf in ``ram``: ``step(label, address)``, a label of STEPS.  None: no more."""
    global _step, _steps_in
    _step, _steps_in = step, ram
