"""How soon the first screen is there, and how much memory the interface takes.

Usage: python -m benchmarks.first_paint [--rounds N]

From the start of the program in a terminal of 120 x 36 to the first frame that shows the prompt, warm; then the
resident size of the interface's process (the engine is another one) once the model is loaded.
"""

import argparse
import os
import statistics
import sys
import time

import pexpect
import psutil

from benchmarks.shared import private_home, show

SETTLE_S = 2.0


def once() -> tuple[float, float, int]:
    """Seconds to the first frame, seconds of processor time till then, and resident bytes of the interface."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    began = time.perf_counter()
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable, ["-m", "chatapp.cli", "starter"], env=environment, dimensions=(36, 120), timeout=60
    )
    child.expect("rite a message")  # the cursor blinks on the first letter
    painted = time.perf_counter() - began
    busy = psutil.Process(child.pid).cpu_times()
    child.expect("ready")
    time.sleep(SETTLE_S)
    kv = psutil.Process(child.pid).memory_info().rss
    child.send("\x11")
    child.expect(pexpect.EOF)
    return painted, busy.user + busy.system, kv


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with private_home():
        once()  # to warm the file cache
        results = [once() for _ in range(args.rounds)]
    show(
        [
            {
                "first_paint_s": min(painted for painted, _, _ in results),
                "median_s": statistics.median(painted for painted, _, _ in results),
                "processor_s": min(busy for _, busy, _ in results),
                "resident_mb": max(size for _, _, size in results) / 1e6,
            }
        ],
        "first_paint",
    )


if __name__ == "__main__":
    main()
