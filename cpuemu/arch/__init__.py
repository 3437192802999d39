"""The hardware: RAM, interrupts, the gate, the CPU.  No module here knows what a zone or a page list is."""
