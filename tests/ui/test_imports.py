"""What the first paint may cost: the interface is imported without what it needs only later."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "llama_cpp",
        "numpy",
        "sqlite3",
        "markdown_it",
        "pygments.lexers",
        "jinja2",
        "huggingface_hub",
        "textual.widgets._markdown",
    ],
)
def test_the_screen_comes_up_without(module: str) -> None:
    """Replies, store and engine come after the first paint, and so does what they import."""
    code = f"import sys, chatapp.ui.app; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
