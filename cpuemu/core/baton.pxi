# The hot half of the baton of controlled schedules (arch/baton.py says what it means).
#
# An actor's state is the futex of both sides, since one of the two runs: the conductor sleeps on it while it is
# RUNNING, the actor while it is not.

from cpython.exc cimport PyErr_CheckSignals

cdef int64_t TURN_US = 1000000


cdef class Turns:
    """The actors' records at ``base`` of ``ram``; the words that they wait for lie in ``words``."""

    cdef Ram ram
    cdef Ram words
    cdef em_actor *actors
    cdef int count

    def __cinit__(self, Ram ram, Py_ssize_t base, int actors, Ram words):
        self.ram, self.words, self.count = ram, words, actors
        self.actors = <em_actor *>ram.place(base, actors * <int>sizeof(em_actor))

    cdef em_actor *of(self, int actor) except NULL:
        if not 0 <= actor < self.count:
            raise IndexError(f"actor {actor}: there are {self.count}")
        return &self.actors[actor]

    # --- the actor

    def step(self, int actor, uint32_t site, unsigned long long word, uint32_t kind, terms, bint opens,
             unsigned long long deadline_ns):
        """Declare the access that comes next, give the baton back, and wait for it.  Context: it has the baton."""
        cdef em_actor *mine = self.of(actor)
        cdef int number = 0
        mine.site, mine.word, mine.kind, mine.opens, mine.deadline_ns = site, word, kind, opens, deadline_ns
        for term in terms:
            if number == <int>WAIT_TERMS:
                raise IndexError(f"a wait has {number} terms at most")
            mine.term_word[number], mine.term_op[number] = term.word, term.op
            mine.term_value[number] = <uint64_t>(term.value & 0xFFFFFFFFFFFFFFFF)
            number += 1
        mine.nterms = number
        self.give_back(actor, ACTORSTATE_POINT)
        return self.wait(actor)

    cpdef give_back(self, int actor, uint32_t state):
        """The baton to the conductor."""
        cdef em_actor *mine = self.of(actor)
        em_store(&mine.state, 4, state)
        em_futex_wake(&mine.state, 1)

    cpdef wait(self, int actor):
        """Until the baton comes; the ticket that comes with it."""
        cdef em_actor *mine = self.of(actor)
        cdef uint32_t state = <uint32_t>em_load(&mine.state, 4)
        while state != ACTORSTATE_RUNNING:
            with nogil:
                em_futex_wait(&mine.state, state, TURN_US)
                state = <uint32_t>em_load(&mine.state, 4)
            PyErr_CheckSignals()
        return mine.ticket

    # --- the conductor

    def ready(self, unsigned long long now_ns):
        """Actors at a point that can go on, by number."""
        return [actor for actor in range(self.count) if self.can_go_on(&self.actors[actor], now_ns)]

    def raised(self, Py_ssize_t cpus):
        """(actor, vector, ticket) of interrupts that could be taken: pending, and their CPU at a point that takes them.

        Actors are CPUs, whose records lie at ``cpus`` of ``words``.
        """
        cdef em_cpu *cpu = <em_cpu *>self.words.place(cpus, self.count * <int>sizeof(em_cpu))
        cdef int actor, vector
        cdef uint64_t pending
        cdef list found = []
        for actor in range(self.count):
            if not self.actors[actor].opens or em_load(&self.actors[actor].state, 4) != ACTORSTATE_POINT:
                continue
            for vector in range(<int>VECTOR_NR):
                pending = em_load(&cpu[actor].pending[vector], 8)
                if pending:
                    found.append((actor, vector, pending >> 16))
        return found

    cdef bint can_go_on(self, em_actor *actor, uint64_t now_ns) except -1:
        cdef uint32_t number
        cdef uint64_t address
        if em_load(&actor.state, 4) != ACTORSTATE_POINT:
            return False
        if actor.deadline_ns == 0 and actor.nterms == 0:
            return True
        if actor.deadline_ns and actor.deadline_ns <= now_ns:
            return True
        for number in range(actor.nterms):
            address = actor.term_word[number]
            if compare(em_load(self.words.word(address), 1 << (address & 3)), actor.term_op[number],
                       actor.term_value[number]):
                return True
        return False

    def let(self, int actor, unsigned long long ticket, int64_t timeout_us):
        """The baton to an actor; whether it is back, as ``back`` has it."""
        cdef em_actor *mine = self.of(actor)
        mine.ticket = ticket
        em_store(&mine.state, 4, ACTORSTATE_RUNNING)
        em_futex_wake(&mine.state, 1)
        return self.back(actor, timeout_us)

    cpdef back(self, int actor, int64_t timeout_us):
        """Whether the actor gave the baton back; waits for it, but not much longer than that."""
        cdef em_actor *mine = self.of(actor)
        cdef uint64_t end = 0
        while em_load(&mine.state, 4) == ACTORSTATE_RUNNING:
            if end == 0:
                end = em_now() + <uint64_t>timeout_us * 1000
            elif em_now() >= end:
                return False
            with nogil:
                em_futex_wait(&mine.state, ACTORSTATE_RUNNING, timeout_us)
            PyErr_CheckSignals()
        return True

    def declared(self, int actor):
        """(word, kind, site, whether it waits) of an actor at its point, None for one that is at none."""
        cdef em_actor *mine = self.of(actor)
        if em_load(&mine.state, 4) != ACTORSTATE_POINT:
            return None
        return mine.word, mine.kind, mine.site, mine.nterms != 0

    def opens(self, int actor):
        """Whether an actor is at a point where it takes interrupts."""
        cdef em_actor *mine = self.of(actor)
        return mine.opens != 0 and em_load(&mine.state, 4) == ACTORSTATE_POINT
