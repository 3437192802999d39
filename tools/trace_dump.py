"""The post-mortem without installing: python -m tools.trace_dump RUN_DIR."""

from cpuemu.report.trace_dump import main

if __name__ == "__main__":
    main()
