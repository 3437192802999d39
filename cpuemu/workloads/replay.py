from cpuemu.workloads.base import InputError
def replay_workload(rest, request):
    raise InputError("not yet")
