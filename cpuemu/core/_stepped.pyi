# The same source built once more: the same names, classes of its own.
from cpuemu.core._core import STEPS as STEPS
from cpuemu.core._core import Backtrace as Backtrace
from cpuemu.core._core import BadPage as BadPage
from cpuemu.core._core import Core as Core
from cpuemu.core._core import LeafError as LeafError
from cpuemu.core._core import Ram as Ram
from cpuemu.core._core import bucket as bucket
from cpuemu.core._core import now as now
from cpuemu.core._core import set_step as set_step
