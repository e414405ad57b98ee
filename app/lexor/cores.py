"""Cores: how many this process may use, and threads that sleep, not spin, while they wait for one another.

torch's wheel brings GNU's OpenMP, whose threads spin at every barrier unless told otherwise. On a host with other
work they spin on the very cores that the threads they wait for need. Its settings are read once, with torch.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# What the user may have said about it already, in OpenMP's own words or in those of GNU's or torch's libraries.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_COUNT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Turns of a waiting thread before it sleeps: nearly as fast as spinning on free cores, and as sleeping on busy ones.
SPINS = "1000"


def affine_cores() -> int:
    """Cores of the affinity mask (taskset, cpusets)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_cores(proc: Path = Path("/proc/self")) -> int:
    """Cores of the affinity mask, but no more than the control groups' CPU quota, rounded up; at least 1.

    Args:
        proc: where the kernel describes the process: its `cgroup` and `mountinfo` are read (proc(5), cgroups(7)).
    """
    cores = affine_cores()
    try:
        return max(1, min(cores, math.ceil(min(_quotas(proc), default=cores))))
    except (OSError, ValueError):  # no Linux, or none that we know
        return cores


def spare_the_cores() -> None:
    """Sets OpenMP to sleep soon while it waits and to as many threads as there are usable cores.

    Whatever the user has set stays. Where torch is imported already, only its number of threads can be lowered.
    """
    cores, environment = usable_cores(), os.environ
    counted = any(name in environment for name in _COUNT)
    if "torch" not in sys.modules:
        if not any(name in environment for name in _WAITING):
            environment["GOMP_SPINCOUNT"] = SPINS
        # OpenMP knows the affinity mask, not the quota.
        if not counted and cores < affine_cores():
            environment["OMP_NUM_THREADS"] = str(cores)
    elif not counted:
        torch = sys.modules["torch"]
        if torch.get_num_threads() > cores:
            torch.set_num_threads(cores)


def _quotas(proc: Path) -> Iterator[float]:
    """The quotas, in cores, of the process's control groups and of all that they are in."""
    groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    paths = {controller: path for _, names, path in groups for controller in names.split(",")}
    for mount in (proc / "mountinfo").read_text().splitlines():
        before, _, after = mount.partition(" - ")
        root, point = before.split(" ")[3:5]
        kind, _, options = after.split(" ")[:3]
        # Version 2 is the hierarchy without a name; of version 1 the one with the controller cpu.
        path = (
            paths.get("") if kind == "cgroup2" else paths.get("cpu") if "cpu" in options.split(",") else None
        )
        if path is None or not kind.startswith("cgroup"):
            continue
        top = Path(point)
        inner = PurePosixPath(path)
        # A container may see its group as the mount's root, whatever the path says.
        folder = top / inner.relative_to(root) if inner.is_relative_to(root) else top
        for group in (folder, *folder.parents):
            if group.is_relative_to(top):
                yield from _quota(group)


def _quota(group: Path) -> Iterator[float]:
    """The quota of one control group, in cores, if it has one."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        if int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no such group here, or no limit: "max"
        return
