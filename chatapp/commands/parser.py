"""The parser of every command's arguments."""

import argparse
from typing import NoReturn

from chatapp.text import LONGEST_SENTENCE, one_line


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """See ArgumentParser."""
        self.exit(2, f"{self.prog}: {one_line(message, LONGEST_SENTENCE)}. See {self.prog} --help.\n")
