"""The engine's cache and the decoder of `kernels`, fed the same conversation.

The decoder follows what the engine *tells*: the tokens that it decodes, and its events of evictions, which people are
shown. It does not see the engine's calls to llama.cpp, so a call that does something else than the event says makes the
two differ.
"""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from chatapp.cache.ledger import CellKind
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import CacheRules, Piece, Prefill
from chatapp.engine.native.llama import Context, Model
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import CacheSettings, EngineSettings
from kernels import Decoder
from tests.support.tiny_gguf import N_VOCAB
from tests.support.tiny_models import tiny

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Decoded:
    tokens: tuple[int, ...]
    pos: int


class Telling(Context):
    """The engine's context. It tells what it decodes."""

    def __init__(self, model: Model, cache: CacheSettings, engine: EngineSettings) -> None:
        super().__init__(model, cache, engine)
        self.told: list[Decoded | Evicted] = []

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        self.told.append(Decoded(tuple(tokens), pos))
        return super().decode(tokens, pos, logits=logits)

    @property
    def last(self) -> Logits:
        """Logits of the last token."""
        return self.logits(1)[0].astype(np.float64)


@dataclass(frozen=True)
class Setting:
    """One way to run the engine. The cache is float32, so that nothing is rounded on its way."""

    name: str
    policy: str
    n_ctx: int = 256
    sinks: int = 4
    micro_batch: int = 32
    share: float = 0.125
    max_pos: int = 4096
    flash_attention: str = "off"
    cache_type: str = "f32"
    checkpoints: bool = False


class Beside:
    """An engine and its judge. `errors` are how far apart their logits were at each look, relative to the largest."""

    def __init__(self, context: Telling, decoder: Decoder, setting: Setting, *, n_swa: int) -> None:
        self.context, self.decoder, self.setting = context, decoder, setting
        self.engine = KvCache(
            context,
            CacheRules.of(
                policy=setting.policy,
                n_sink=setting.sinks,
                share=setting.share,
                chunk=setting.micro_batch,
                n_ctx=context.n_ctx,
                n_swa=n_swa or None,
                max_pos=setting.max_pos,
            ),
            can_cut=True,
            on_evicted=context.told.append,
            cancelled=lambda: False,
            checkpoint_bytes=1 << 24 if setting.checkpoints else 0,
        )
        self.turn = 0
        self.errors: list[float] = []
        self.evictions: list[Evicted] = []
        self._random = np.random.default_rng(0)
        if setting.sinks:
            self._prefill(Piece(0, "system", self._text(setting.sinks), sink=True))

    def send(self, tokens: int, reply: int = 0) -> None:
        """A turn: a message of so many tokens, then a reply, one decode for each of its tokens."""
        self.turn += 1
        self._prefill(Piece(self.turn, "user", self._text(tokens), opening=3))
        for token in self._text(reply):
            self.engine.extend(self.turn, token)
            self.check()

    def pin(self, turn: int) -> None:
        """Keep a turn, where a quarter of the window stays free, as the engine itself demands."""
        book = self.engine.ledger.pin(turn)
        if book.n_sink + book.n_pinned <= self.setting.n_ctx * 3 // 4:
            self.engine.pin(turn)

    def go_back(self, turn: int) -> None:
        """To the beginning of a turn, as undo does. What the engine decodes again, the decoder forgets before."""
        p0 = next(run.pos for run in self.engine.ledger.of_turn(turn) if run.kind is not CellKind.SINK)
        self.engine.go_back(p0)
        again = [told.pos for told in self.context.told if isinstance(told, Decoded)]
        self.decoder.remove(min([p0, *again]))
        self.check()

    def check(self) -> None:
        """What the engine told since, done by the decoder: tokens, positions and logits are the same."""
        logits: Logits | None = None
        for step in in_order(self.context.told):
            match step:
                case Decoded(tokens, pos):
                    assert pos == self.decoder.next_position
                    logits = self.decoder.decode(tokens, n_output=1)[0]
                case Evicted():
                    self._leave(step)
        self.context.told.clear()
        book = [(run.pos + i, token) for run in self.engine.ledger.runs for i, token in enumerate(run.tokens)]
        assert book == list(zip(self.decoder.positions.tolist(), self.decoder.tokens.tolist(), strict=True))
        assert self.engine.mismatch() is None
        if logits is not None:
            self.errors.append(difference(self.context.last, logits))

    def _leave(self, event: Evicted) -> None:
        self.evictions.append(event)
        for p0, p1 in reversed(event.removed):
            self.decoder.remove(p0, p1)
            if event.renumbered:
                self.decoder.renumber(p1, p0 - p1)
        if event.reprocessed_tokens:
            assert event.reprocessed_tokens == len(self.decoder.tokens)
            self.decoder.rebuild()

    def _prefill(self, piece: Piece) -> None:
        self.engine.prefill(Prefill([piece], [0]))
        self.check()

    def _text(self, length: int) -> tuple[int, ...]:
        return tuple(self._random.integers(N_VOCAB, size=length).tolist())


def in_order(told: Sequence[Decoded | Evicted]) -> list[Decoded | Evicted]:
    """An eviction is told after the decode that follows it, and what a rebuild decodes comes before that one."""
    steps: list[Decoded | Evicted] = []
    for step in told:
        if isinstance(step, Evicted):
            after = [steps.pop()]
            left = step.reprocessed_tokens
            while left > 0:
                again = steps.pop()
                assert isinstance(again, Decoded)
                left -= len(again.tokens)
            steps += [step, *after]
        else:
            steps.append(step)
    return steps


def difference(a: Logits, b: Logits) -> float:
    """The largest difference of a logit, relative to the largest logit."""
    return float(np.abs(a - b).max() / np.abs(b).max())


class Models:
    """Tiny models, loaded once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, tuple[Path, Model]] = {}

    def get(self, name: str) -> tuple[Path, Model]:
        """The file and the model; `NAME!` is the even one of that name."""
        if name not in self._loaded:
            path = tiny(name.removesuffix("!"), self._folder)
            path = even(path) if name.endswith("!") else path
            self._loaded[name] = path, Model(path)
        return self._loaded[name]

    def close(self) -> None:
        for _, model in self._loaded.values():
            model.close()


def even(path: Path) -> Path:
    """A tiny model without its two steps, where the smallest rounding makes a large difference.

    llama.cpp looks GELU up in a table of float16 for numbers between -10 and 10 (GGML_GELU_FP16); here the gates are
    steep, so that hardly any lies there. And a token whose second and third expert are nearly equal can take either;
    here it takes all.
    """
    copy = path.with_name(f"even-{path.name}")
    shutil.copy(path, copy)
    reader = gguf.GGUFReader(copy, "r+")
    for tensor in reader.tensors:
        if ".ffn_gate.weight" in tensor.name and reader.fields["general.architecture"].contents().startswith("gemma"):
            tensor.data[...] *= 1e4
    for key, field in reader.fields.items():
        if key.endswith(".expert_used_count"):
            field.parts[-1][0] = reader.fields[key.replace("_used", "")].contents()
    return copy


@contextmanager
def beside(models: Models, setting: Setting) -> Generator[Beside]:
    """The engine and the decoder on the same tiny model."""
    path, model = models.get(setting.name)
    kind: Any = {"f32": np.float64, "f16": np.float16}[setting.cache_type]
    cache = CacheSettings(
        n_ctx=setting.n_ctx, micro_batch=setting.micro_batch, type_k=setting.cache_type, type_v=setting.cache_type
    )
    context = Telling(model, cache, EngineSettings(threads=1, flash_attention=setting.flash_attention))
    try:
        yield Beside(context, Decoder.load(path, n_ctx=setting.n_ctx, cache_type=kind), setting, n_swa=model.n_swa)
    finally:
        context.close()
