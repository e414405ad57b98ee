"""The cores that a process may use, and what OpenMP and torch are told of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lexor import cores
from lexor.cores import usable_cores

REPORT = (
    "import os, lexor, torch; print(torch.get_num_threads(), "
    "os.environ.get('OMP_WAIT_POLICY') or os.environ.get('GOMP_SPINCOUNT'), "
    "os.environ.get('OMP_NUM_THREADS'))"
)


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores by the affinity mask."""
    monkeypatch.setattr(cores, "affine_cores", lambda: 8)


def make_proc(folder: Path, cgroup: str, *mounts: tuple[str, str, str, str]) -> Path:
    """A process as the kernel describes it; a mount is its root, folder, type and options."""
    folder.mkdir(exist_ok=True)
    (folder / "cgroup").write_text(cgroup)
    lines = [
        f"30 23 0:26 {root} {point} rw,relatime shared:4 - {kind} cgroup {options}\n"
        for root, point, kind, options in mounts
    ]
    (folder / "mountinfo").write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n" + "".join(lines))
    return folder


def version_2(folder: Path, **groups: str) -> Path:
    """A process in the innermost of nested groups, each with its `cpu.max`."""
    group = folder / "fs"
    group.mkdir()
    for name, limit in groups.items():
        group /= name
        group.mkdir()
        (group / "cpu.max").write_text(f"{limit}\n")
    path = group.relative_to(folder / "fs")
    return make_proc(folder / "proc", f"0::/{path}\n", ("/", str(folder / "fs"), "cgroup2", "rw"))


@pytest.mark.parametrize(
    ("groups", "cores"),
    [
        ({"a": "max 100000"}, 8),
        ({"a": "200000 100000"}, 2),
        ({"a": "150000 100000"}, 2),
        ({"a": "1000 100000"}, 1),
        ({"a": "1600000 100000"}, 8),
        ({"a": "300000 100000", "b": "max 100000"}, 3),
        ({"a": "300000 100000", "b": "500000 100000", "c": "max 100000"}, 3),
        ({"a": "300000 100000", "b": "50000 50000"}, 1),
        ({"a": "nonsense"}, 8),
        ({"a": "100000 0"}, 8),
    ],
)
def test_the_least_quota_of_nested_groups_counts_rounded_up(
    groups: dict[str, str], cores: int, tmp_path: Path
) -> None:
    assert usable_cores(version_2(tmp_path, **groups)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3), ("50000", 1)])
@pytest.mark.parametrize("path", ["/docker/abc", "/elsewhere", "/docker/abc/inner"])
def test_version_1_seen_from_inside_of_a_container(quota: str, cores: int, path: str, tmp_path: Path) -> None:
    point = tmp_path / "cpu,cpuacct"
    point.mkdir()
    (point / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (point / "cpu.cfs_period_us").write_text("100000\n")
    proc = make_proc(
        tmp_path / "proc",
        f"5:memory:/other\n3:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n",
        ("/docker/abc", str(point), "cgroup", "rw,cpu,cpuacct"),
        ("/docker/abc", str(tmp_path / "memory"), "cgroup", "rw,memory"),
    )
    assert usable_cores(proc) == cores


def test_without_control_groups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
    assert usable_cores(make_proc(tmp_path / "proc", "")) == 8


def report(code: str = REPORT, *command: str, **environment: str) -> list[str]:
    """What a new process prints whose environment says nothing of threads but what is given."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_threads_sleep_while_they_wait_and_are_as_many_as_the_mask_has() -> None:
    assert report()[1:] == ["1000", "None"]
    assert report(REPORT, "taskset", "-c", str(min(os.sched_getaffinity(0)))) == ["1", "1000", "None"]


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"OMP_WAIT_POLICY": "active"}, ["active", "None"]),
        ({"GOMP_SPINCOUNT": "5000"}, ["5000", "None"]),
        ({"OMP_NUM_THREADS": "3"}, ["1000", "3"]),
    ],
)
def test_what_the_user_has_set_stays(environment: dict[str, str], printed: list[str]) -> None:
    assert report(**environment)[1:] == printed


QUOTA = (
    "import lexor.cores as c; c.usable_cores = lambda: 1; c.affine_cores = lambda: 2; c.spare_the_cores(); "
)


def test_a_quota_below_the_mask_bounds_the_threads() -> None:
    assert report(QUOTA + REPORT) == ["1", "1000", "1"]
    assert report(QUOTA + REPORT, OMP_NUM_THREADS="2") == ["2", "1000", "2"]


def test_where_torch_came_first_only_its_threads_are_fewer() -> None:
    first = "import torch; torch.set_num_threads(2); "
    assert report(first + REPORT.replace("import os, lexor", "import os")) == ["2", "None", "None"]
    assert report(first + QUOTA + REPORT) == ["1", "None", "None"]
    assert report(first + QUOTA + REPORT, OMP_NUM_THREADS="2") == ["2", "None", "2"]
