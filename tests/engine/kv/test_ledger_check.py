"""The ledger is held against llama.cpp's own positions after every step, not only when a picture is taken."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chatapp.engine.native.llama import Context
from chatapp.protocol.events import Evicted, Snapshot
from chatapp.protocol.values import CacheRequest
from tests.support.engine.tiny_session import sampling, tiny_session
from tests.support.tiny_models import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


class Blinking(Context):
    """A context that is asked for its positions, and lies about them once, after the step of number `lies_at`."""

    lies_at = -1
    steps = 0

    def _stepped(self) -> None:
        self.steps += 1

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        self._stepped()
        return super().decode(tokens, pos, logits=logits)

    def remove(self, p0: int, p1: int) -> bool:
        self._stepped()
        return super().remove(p0, p1)

    @property
    def positions(self) -> tuple[int, int] | None:
        if self.steps == self.lies_at:
            self.lies_at = -1
            return (7, 9999)
        return super().positions


@pytest.mark.parametrize("lies_at", range(1, 24, 2))
def test_a_disagreement_behind_any_single_step_is_told(folder: Path, lies_at: int) -> None:
    """Steps are chunks of a prompt, tokens of a reply, evictions and roll-backs; every other step agrees."""
    request = CacheRequest(n_ctx=256, micro_batch=32, type_k="f32", type_v="f32")
    with tiny_session(tiny("llama", folder), request, kind=Blinking) as chat:
        assert isinstance(chat.context, Blinking)
        chat.open([])
        start = chat.context.steps
        chat.context.lies_at = start + lies_at
        for turn in range(1, 4):
            chat.session.send(turn, "alpha beta gamma " * 20, sampling(4, seed=1))
        chat.session.undo(3)
        assert chat.context.steps > start + lies_at
        assert chat.all(Evicted)
        told = [event.mismatch for event in chat.all(Snapshot) if event.mismatch is not None]
    assert len(told) == 1
    assert "llama.cpp at 9999" in told[0]
