"""A home for each test that starts the program."""

from pathlib import Path

import pytest

from tests.e2e.terminal import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which nothing was ever said."""
    return Home(tmp_path / "home")
