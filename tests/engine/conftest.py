"""The real models, each put where it is wanted once in a session."""

import os
from pathlib import Path

import pytest

from chatapp import models
from chatapp.engine.client import SPIN_COUNT

# As the client does for the engine process; OpenMP reads it when llama.cpp is first loaded into a test's own process.
os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


@pytest.fixture(scope="session")
def starter(isolated_session: None) -> Path:
    """SmolLM2-135M-Instruct: full attention in 30 layers."""
    return models.resolve("starter")


@pytest.fixture(scope="session")
def gemma(isolated_session: None) -> Path:
    """Gemma 3 270M: a window of 512 tokens in 15 of 18 layers."""
    return models.resolve("gemma3-270m")
