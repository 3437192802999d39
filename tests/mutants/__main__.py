"""Run a mutant with the real command."""

from __future__ import annotations

import sys

from cpuemu.cli.main import main
from tests.mutants import MUTANTS

chosen = MUTANTS[sys.argv[1]]
chosen.apply()
arguments = sys.argv[2:]
main(arguments if "launch" in arguments else [*chosen.launch(), *arguments])
