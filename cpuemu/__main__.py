"""``python -m cpuemu``."""

from cpuemu.cli.main import main

main()
