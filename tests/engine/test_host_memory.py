"""Free memory inside a container: the smallest of what the machine and each group around the process leave."""

from pathlib import Path

import psutil
import pytest

from chatapp.engine.host_memory import available_bytes

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 GiB free."""

    class Memory:
        available = 64 * GIB

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
