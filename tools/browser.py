"""A browser for the tests that open a page: installed from the system's packages where that needs nobody's consent."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TextIO

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", "chromium")
TIMEOUT_S = 300


def provide_browser(log_file: Path, out: TextIO) -> None:
    """Install Chromium where there is no browser, apt-get is there and we are root: in a container, that is.

    Tried only once: `log_file` records it. Never fails: without a browser, the tests that need one are skipped.
    """
    if log_file.exists() or any(map(shutil.which, NAMES)) or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print("Installing a browser for the page tests (apt-get): ", end="", file=out, flush=True)
    with log_file.open("w", encoding="utf-8") as log:
        done = _run(INSTALL, log) or (_run(("apt-get", "update"), log) and _run(INSTALL, log))
    print("done" if done else f"failed; these tests will be skipped, see {log_file}", file=out, flush=True)


def _run(command: tuple[str, ...], log: TextIO) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, timeout=TIMEOUT_S, check=False
        ).returncode == 0  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=log)
        return False
