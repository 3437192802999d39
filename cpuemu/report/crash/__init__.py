"""Reading a machine's RAM as the kernel's debuggers do: one small file a group of sub-commands."""
