"""The real models, each put where it is wanted once in a session."""

from pathlib import Path

import pytest

from chatapp import models


@pytest.fixture(scope="session")
def starter(isolated_session: None) -> Path:
    """SmolLM2-135M-Instruct: full attention in 30 layers."""
    return models.resolve("starter")


@pytest.fixture(scope="session")
def gemma(isolated_session: None) -> Path:
    """Gemma 3 270M: a window of 512 tokens in 15 of 18 layers."""
    return models.resolve("gemma3-270m")
