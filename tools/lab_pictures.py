"""The lab's pictures in the documents, as SVG, each drawn by the command printed below it.

Usage: python -m tools.lab_pictures
"""

from pathlib import Path
from typing import Final

from chatapp import cli

PICTURES: Final = Path("docs/pictures")
COMMANDS: Final = {
    "lab-mask": "mask --window 3 --sinks 1",
    "lab-ring": "ring --window 4",
    "lab-ring-sinks": "ring --window 3 --sinks 1",
    "lab-sinks": "sinks --tokens 24 --window 8",
    "lab-reach": "reach --layers 24 --window 128",
    "lab-reach-no-residual": "reach --layers 24 --window 128 --alpha 0",
    "lab-reach-hybrid": "reach --layers 18 --window 512 --global-every 6 --tokens 4096",
    "lab-memory": "memory --ctx 8192",
}


def main() -> None:
    """Draw them all."""
    for name, words in COMMANDS.items():
        cli.main(["lab", *words.split(), "--out", str(PICTURES / f"{name}.svg")])


if __name__ == "__main__":
    main()
