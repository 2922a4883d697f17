"""The control groups around this process, through which Linux and containers limit memory and processors."""

from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def folders(controller: str, membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Iterator[Path]:
    """Where the groups of one version may report, from the process's own group up to the root.

    `controller` is "" for the second version, else one of the first, such as "memory" or "cpu". Not every folder
    exists: in a container the path may be the host's, and the mount's root the group itself.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for path in (line[2] for line in lines if len(line) == 3 and controller in line[1].split(",")):
        for group in (Path(path), *Path(path).parents):
            yield mount / controller / str(group).lstrip("/")
