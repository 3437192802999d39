"""Compile a recording and its zoneinfo into the packed form that ships with cpuemu.

    python -m tools.pack_recording trace.txt.xz --zoneinfo zoneinfo.before -o cpuemu/workloads/recordings/NAME.replay
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cpuemu.workloads.package import dump
from cpuemu.workloads.replay import from_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--zoneinfo", type=Path, required=True, help="/proc/zoneinfo from before the recording")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    workload = from_files(options.trace, options.zoneinfo)
    workload.name = options.output.stem
    options.output.write_bytes(dump(workload))
    print(f"{options.output}: {workload.lines} lines, {sum(each.count for each in workload.streams)} operations, "
          f"{len(workload.held)} blocks held, {len(workload.hotplug)} hotplug operations, "
          f"{options.output.stat().st_size} bytes; {workload.skipped}")


if __name__ == "__main__":
    main()
