"""What the window saves, against arithmetic done by hand."""

import msgspec
import pytest

from chatapp.presentation.savings import Savings, savings, sentences
from chatapp.protocol.values import CellRun, Ghost, Memory
from tests.support.presentation.inspector_events import conversation, loaded, snapshot


def test_the_sentence_of_a_long_conversation() -> None:
    """SmolLM2's 23,040 bytes a cell: 4,096 cells are 90 MiB, 48,213 tokens in a multiple of 256 cells 1.04 GiB."""
    model = msgspec.structs.replace(loaded(4096), measured=Memory(kv_bytes=4096 * 23_040))
    runs = conversation([(2000, 1213)])
    snap = snapshot(runs, n_ctx=4096, ghosts=[Ghost(turn=9, tokens=48_213 - sum(run.n for run in runs), whole=True)])
    saved = savings(model, snap)
    assert saved == Savings(
        tokens=48_213,
        n_ctx=4096,
        held_bytes=94_371_840,
        full_bytes=48_384 * 23_040,
        unpruned_bytes=None,
        sliding_bytes=None,
    )
    assert saved is not None
    assert sentences(saved) == ["A full cache for 48,213 tokens would take 1.04 GiB; this one takes 90 MiB."]


def test_a_conversation_that_fits_saves_nothing() -> None:
    saved = savings(loaded(), snapshot(conversation([(22, 61)])))
    assert saved is not None
    assert saved.full_bytes == saved.held_bytes == 11_796_480
    assert sentences(saved) == ["The whole conversation (114 tokens) still fits: the window saves nothing yet."]


def test_pruned_sliding_layers_save_cells_of_their_own() -> None:
    """2,048 global cells, 768 of the sliding layers; a full cache would have every token in both."""
    snap = snapshot(conversation([(120, 310)]), n_ctx=2048, n_swa=512, n_ctx_swa=768,
                    ghosts=[Ghost(turn=9, tokens=10_000, whole=True)])  # fmt: skip
    saved = savings(loaded(2048, 512, 768), snap)
    assert saved is not None
    cells = 10_496  # 10,461 tokens, padded
    assert saved.full_bytes == cells * (11_796_480 // 2048) + cells * (3_932_160 // 768)
    assert saved.unpruned_bytes == 2048 * 3_932_160 // 768
    assert sentences(saved)[1] == "The sliding layers are pruned to 3.75 MiB; unpruned they would take 10 MiB."
    whole = savings(loaded(2048, 512, 2048), msgspec.structs.replace(snap, n_ctx_swa=2048))
    assert whole is not None
    assert sentences(whole)[1] == "The sliding layers keep every cell: 3.75 MiB."


def test_a_recalled_token_is_not_counted_twice() -> None:
    """It was evicted once, and is there again."""
    runs = [*conversation([(20, 30)]), CellRun(turn=1, role="user", kind="recalled", pos=81, n=50)]
    saved = savings(loaded(), snapshot(runs, ghosts=[Ghost(turn=1, tokens=50, whole=True)]))
    assert saved is not None
    assert saved.tokens == 81 + 50


@pytest.mark.parametrize("memory", [Memory(), Memory(kv_bytes=1)])
def test_what_nobody_knows_is_not_guessed(memory: Memory) -> None:
    """Neither planned nor measured: of all cells, or of the sliding layers alone."""
    model = msgspec.structs.replace(loaded(2048, 512, 768), planned=memory, measured=memory)
    assert savings(model, snapshot(n_ctx=2048, n_swa=512, n_ctx_swa=768)) is None
