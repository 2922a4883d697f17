"""Free memory inside a container: the smallest of what the machine and each group around the process leave."""

import time
from pathlib import Path

import psutil
import pytest

from chatapp import host_memory
from chatapp.host_memory import Watched, available_and_limit, available_bytes, swapped_bytes

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 GiB free of 128."""

    class Memory:
        available = 64 * GIB
        total = 128 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Memory)


def group(folder: Path, limit: str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cached}\ninactive_file {cached}\n")


def available(tmp_path: Path, membership: str = "0::/pod/container\n") -> int:
    (tmp_path / "cgroup").write_text(membership)
    return available_bytes(tmp_path / "cgroup", tmp_path / "mount")


def test_a_limit_counts_and_files_that_the_kernel_would_drop_do_not(tmp_path: Path) -> None:
    group(tmp_path / "mount/pod/container", str(8 * GIB), used=5 * GIB, cached=2 * GIB)
    assert available(tmp_path) == 5 * GIB


def test_the_narrowest_group_on_the_way_to_the_root_decides(tmp_path: Path) -> None:
    group(tmp_path / "mount/pod/container", "max", used=GIB)
    group(tmp_path / "mount/pod", str(4 * GIB), used=3 * GIB)
    assert available(tmp_path) == GIB
    group(tmp_path / "mount", str(2 * GIB), used=3 * GIB)
    assert available(tmp_path) == 0


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    """As Docker shows them: the path is the host's, and the mount is the container's own group. No limit is a number
    that no machine has.
    """
    folder = tmp_path / "mount/memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{6 * GIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    (folder / "memory.stat").write_text(f"cache {2 * GIB}\ninactive_file 0\ntotal_inactive_file {GIB}\n")
    membership = "5:cpu,cpuacct:/\n4:memory:/docker/0123\n0::/\n"
    assert available(tmp_path, membership) == 4 * GIB
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert available(tmp_path, membership) == 64 * GIB


@pytest.mark.parametrize("membership", ["0::/pod/container\n", "0::/\n", "5:memory:/old\n", "odd\n", ""])
def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path, membership: str) -> None:
    """No group, or none with a file that can be read."""
    assert available(tmp_path, membership) == 64 * GIB
    group(tmp_path / "mount/pod/container", "max", used=GIB)
    assert available(tmp_path, membership) == 64 * GIB
    assert available_bytes(tmp_path / "no such file", tmp_path) == 64 * GIB


def test_damaged_figures_are_no_limit(tmp_path: Path) -> None:
    group(tmp_path / "mount/pod/container", "lots", used=GIB)
    assert available(tmp_path) == 64 * GIB


def test_the_limit_is_the_narrowest_one_not_the_one_that_leaves_least(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/pod/container\n")
    group(tmp_path / "mount/pod/container", str(8 * GIB), used=GIB)
    group(tmp_path / "mount/pod", str(16 * GIB), used=14 * GIB)
    assert available_and_limit(tmp_path / "cgroup", tmp_path / "mount") == (2 * GIB, 8 * GIB)
    assert available_and_limit(tmp_path / "no such file", tmp_path) == (64 * GIB, 128 * GIB)


def test_what_the_system_swapped_out_of_the_process_is_read_or_not_known(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmRSS:\t  251000 kB\nVmSwap:\t    2048 kB\n")
    assert swapped_bytes(status) == 2 * 2**20
    status.write_text("Name:\tpython\nVmSwap:\n")
    assert swapped_bytes(status) is None
    assert swapped_bytes(tmp_path / "no such file") is None


def test_the_figures_of_a_snapshot_are_read_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten snapshots a second must not read the system's files ten times."""
    clock = [100.0]
    reads: list[int] = []

    def limits() -> tuple[int, int]:
        reads.append(1)
        return 3 * GIB, 8 * GIB

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(host_memory, "available_and_limit", limits)
    watched = Watched()
    first = watched.now()
    assert (first.available_bytes, first.limit_bytes) == (3 * GIB, 8 * GIB)
    assert first.private_bytes is None or 0 < first.private_bytes < psutil.Process().memory_info().rss
    clock[0] += host_memory.INTERVAL_S / 2
    assert watched.now() is first
    clock[0] += host_memory.INTERVAL_S / 2
    watched.now()
    assert len(reads) == 2
