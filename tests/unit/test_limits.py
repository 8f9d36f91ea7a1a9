"""Limits of control groups are read as both versions write them."""

from __future__ import annotations

from pathlib import Path

from fraudstream.limits import cpu_limit_cores, memory_limit_bytes, times_throttled

V2 = "0::/kubepods/pod/container"
V1 = "4:memory:/docker/a\n1:cpu,cpuacct:/docker/a\n0::/"


def groups(directory: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = directory / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "own").write_text(own)
    return directory / "cgroup", directory / "own"


def test_the_least_limit_of_version_2_holds(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        V2,
        {
            "kubepods/pod/container/memory.max": "2147483648\n",
            "kubepods/pod/memory.max": "1073741824\n",
            "kubepods/memory.max": "max\n",
            "kubepods/pod/container/cpu.max": "150000 100000\n",
            "kubepods/pod/cpu.max": "max 100000\n",
            "kubepods/pod/container/cpu.stat": "usage_usec 5\nnr_throttled 7\n",
        },
    )
    assert memory_limit_bytes(*found) == 2**30
    assert cpu_limit_cores(*found) == 1.5
    assert times_throttled(*found) == 7


def test_version_1_keeps_each_controller_apart(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        V1,
        {
            "memory/docker/a/memory.limit_in_bytes": "1073741824\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu,cpuacct/docker/a/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/docker/a/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/docker/a/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 1\n",
        },
    )
    assert memory_limit_bytes(*found) == 2**30
    assert cpu_limit_cores(*found) == 0.5
    assert times_throttled(*found) == 3


def test_without_limits_there_are_none(tmp_path: Path) -> None:
    found = groups(tmp_path, V2, {"kubepods/memory.max": "max\n"})
    assert memory_limit_bytes(*found) is None
    assert cpu_limit_cores(*found) is None
    assert times_throttled(*found) == 0
    assert memory_limit_bytes(tmp_path / "nowhere", tmp_path / "nowhere") is None
