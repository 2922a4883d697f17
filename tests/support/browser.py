"""A headless Chromium for tests that open a page; none where none is installed."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
TIMEOUT_S = 120.0
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
)


@dataclass(frozen=True)
class Opened:
    """What became of a page: its elements as they are after its script, and what was said on the console."""

    dom: str
    console: list[str]


def browser() -> str:
    """The program; skips the test where there is none."""
    for name in NAMES:
        if (program := shutil.which(name)) is not None:
            return program
    pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (on Debian and Ubuntu: apt-get install chromium)")


def open_page(page: Path, profile: Path, *flags: str) -> Opened:
    """Open a file in a browser that has never been used."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [browser(), *FLAGS, *sandbox, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return Opened(result.stdout, [line for line in result.stderr.splitlines() if ":CONSOLE" in line])
