"""The process that runs the machine on one CPU: boot, loop, interrupts, last words.  cpuemu never imports this."""
