# A process that goes back to where it was (rewind.h).

cdef extern from "rewind.h":
    bint em_can_rewind()
    int em_rewind_here()
    int em_rewind_threads()
    void em_rewind_back()


CAN_REWIND = em_can_rewind()
"""Whether this host lets a process go back."""


def rewind_here():
    """Where ``rewind`` leads: 0 now, then how often it was called.  Raises OSError when there is no memory for that.

    Context: one thread; CAN_REWIND.
    """
    cdef int times = em_rewind_here()
    if times < 0:
        raise OSError("a process cannot remember how it is")
    return times


def rewind():
    """This process as it was in ``rewind_here``, but for what it shares with others.

    Raises RuntimeError when it has another thread, which would go on in the memory of before.
    """
    if em_rewind_threads() != 1:
        raise RuntimeError(f"{em_rewind_threads()} threads: a process goes back alone")
    em_rewind_back()
