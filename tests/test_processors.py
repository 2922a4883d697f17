"""How many processors this process may use: fewer than the machine has, in a container or with an affinity."""

import os
import sys
from pathlib import Path

import pytest

from chatapp.processors import Idle, usable


def allow(monkeypatch: pytest.MonkeyPatch, allowed: set[int]) -> None:
    def affinity(_: int) -> set[int]:
        return allowed

    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight processors on four cores."""
    monkeypatch.setattr(sys, "platform", "linux")
    allow(monkeypatch, set(range(8)))
    for number in range(8):
        topology = tmp_path / f"cpus/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    return tmp_path / "cpus"


def quota(mount: Path, told: str, group: str = "pod") -> None:
    (mount / group).mkdir(parents=True, exist_ok=True)
    (mount / group / "cpu.max").write_text(f"{told}\n")


def found(tmp_path: Path, cpus: Path, membership: str = "0::/pod/container\n") -> tuple[int, int]:
    (tmp_path / "cgroup").write_text(membership)
    processors = usable(tmp_path / "cgroup", tmp_path / "mount", cpus)
    return processors.most, processors.fast


def test_cores_count_and_not_their_threads(tmp_path: Path, cpus: Path) -> None:
    assert found(tmp_path, cpus) == (4, 4)


@pytest.mark.parametrize(("allowed", "most"), [({0}, 1), ({0, 4}, 2), ({0, 1, 4, 5}, 2), ({1, 2, 3}, 3)])
def test_an_affinity_counts(
    tmp_path: Path, cpus: Path, monkeypatch: pytest.MonkeyPatch, allowed: set[int], most: int
) -> None:
    """Both threads of a single core are two: together they are faster than one."""
    allow(monkeypatch, allowed)
    assert found(tmp_path, cpus) == (most, most)


@pytest.mark.parametrize(
    ("told", "most"),
    [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("odd", 4), ("0 0", 4)],
)
def test_a_quota_of_a_group_counts(tmp_path: Path, cpus: Path, told: str, most: int) -> None:
    """A container of two and a half processors has two: with a third all would wait for the one that is put off."""
    quota(tmp_path / "mount", told)
    assert found(tmp_path, cpus) == (most, most)


def test_a_quota_of_the_first_version_counts(tmp_path: Path, cpus: Path) -> None:
    folder = tmp_path / "mount/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("150000\n")
    (folder / "cpu.cfs_period_us").write_text("50000\n")
    assert found(tmp_path, cpus, "4:cpu,cpuacct:/docker/0123\n0::/\n") == (3, 3)
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert found(tmp_path, cpus, "4:cpu,cpuacct:/docker/0123\n0::/\n") == (4, 4)


def test_of_two_kinds_the_fast_cores_are_told(tmp_path: Path, cpus: Path) -> None:
    for number in range(8):
        (cpus / f"cpu{number}/cpu_capacity").write_text("1024\n" if number in (0, 1) else "446\n")
    assert found(tmp_path, cpus) == (4, 2)


def test_without_any_file_it_is_the_affinity(tmp_path: Path, cpus: Path) -> None:
    assert found(tmp_path, tmp_path / "nowhere", "") == (8, 8)


def test_the_idle_processors_of_this_machine_are_no_more_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.1, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    idle = Idle()
    assert idle.now() is None, "a tenth of a second tells nothing"
    now = idle.now()
    assert now is None or 0 <= now <= (os.cpu_count() or 1)
