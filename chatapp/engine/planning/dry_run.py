"""llama.cpp's own dry run: the structure of a model and the memory that a cache would take, without loading weights.

With `no_alloc` llama.cpp reads the metadata, builds the caches and the graphs, sizes their buffers, and allocates none
(llama.cpp's --fit does the same). No formula could follow the graphs of 140 architectures and ggml's allocator;
docs/decisions/0008-llama-cpp-plans-the-memory.md has the figures. The vocabulary is skipped: reading it takes most of
the time, and no buffer depends on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import structs

from chatapp.cache.memory_plan import PAD, Layer, kv_bytes, padded, swa_cells
from chatapp.engine.native import llama, load_log, rope_in_graph
from chatapp.engine.native.dry_model import DryModel
from chatapp.engine.native.gguf import GgufMeta
from chatapp.engine.native.log import whole_log
from chatapp.errors import ModelError
from chatapp.protocol.values import Buffers, CacheSettings, EngineSettings, Memory, host_first

MOST_DRY_RUN_CELLS: Final = 1 << 20
"""llama.cpp needs 50 bytes of bookkeeping a cell even in a dry run; beyond this the sizes are extrapolated linearly."""
ROPE_SCALINGS: Final = {"none", "linear", "yarn", "longrope"}
MOST_LAYERS: Final = 512
MOST_EXPERTS: Final = 1024
_WINDOW_KEY: Final = "n_embd_head_k_swa"
"""A key that llama.cpp prints where the model has a sliding window."""


@dataclass(frozen=True, slots=True)
class ModelStructure:
    """The structure of a model file as llama.cpp reads it."""

    n_layer: int
    n_head: int
    n_head_kv: int
    head_dims_k: frozenset[int]
    head_dims_v: frozenset[int]
    n_ctx_train: int
    n_embd: int
    n_params: int
    quantization: str | None
    slides: tuple[bool, ...]
    """For each layer, whether its window slides."""
    n_swa: int
    """Width of that window, the token itself included; 0 where no layer slides."""
    several_positions: bool
    recurrent: bool
    """All layers have a state instead of cells."""
    hybrid: bool
    """Some layers have a state instead of cells."""
    can_shift: bool
    """llama_memory_can_shift, for caches with equally many cells."""
    keys_are_roped: bool
    """The cached keys have RoPE in every layer, or the model has no RoPE at all."""
    cached: tuple[Layer, ...]
    """The layers that have cells."""
    cached_on: tuple[str, ...]
    """The device that each of these is on."""
    placed: tuple[str, ...]
    """For each layer its device, and last the device of the output."""


@dataclass(frozen=True, slots=True)
class DryRunSizes:
    """Bytes by component of one cache; `kv_swa` is None where no layer slides."""

    kv: int
    kv_swa: int | None
    compute: int
    rotates_keys: bool
    """Quantized keys have a rotation that a shift can undo."""
    buffers: tuple[Buffers, ...] = ()
    """Cells and computation by device, the host first; empty beyond MOST_DRY_RUN_CELLS."""


class DryRun:
    """A dry run of one model file; for a `with`."""

    def __init__(self, meta: GgufMeta, *, gpu_layers: int = -1) -> None:
        """ModelError where llama.cpp cannot load the file, or not chat with it; BuildError where its log has an unknown
        form.
        """
        refuse_fatal(meta)
        self._model = DryModel(meta, gpu_layers)
        self._known: dict[tuple[CacheSettings, EngineSettings, int, int], DryRunSizes] = {}
        try:
            self.structure = self._structure()
        except BaseException:
            self._model.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._model.close()

    def sizes(
        self, cache: CacheSettings, engine: EngineSettings, *, n_outputs: int, n_sequences: int = 1
    ) -> DryRunSizes:
        """What this cache would take. ModelError where llama.cpp refuses it."""
        if cache.n_ctx <= MOST_DRY_RUN_CELLS:
            return self._sizes(cache, engine, n_outputs, n_sequences)
        far, near = (
            self._sizes(structs.replace(cache, n_ctx=cells), engine, n_outputs, n_sequences)
            for cells in (MOST_DRY_RUN_CELLS, MOST_DRY_RUN_CELLS // 2)
        )
        beyond = (cache.n_ctx - MOST_DRY_RUN_CELLS) / (MOST_DRY_RUN_CELLS // 2)
        return DryRunSizes(
            kv=far.kv + round((far.kv - near.kv) * beyond),
            kv_swa=None if far.kv_swa is None else far.kv_swa + round((far.kv_swa - (near.kv_swa or 0)) * beyond),
            compute=far.compute + round((far.compute - near.compute) * beyond),
            rotates_keys=far.rotates_keys,
        )

    def _sizes(self, cache: CacheSettings, engine: EngineSettings, n_outputs: int, n_sequences: int) -> DryRunSizes:
        key = (cache, engine, n_outputs, n_sequences)
        if key not in self._known:
            self._known[key] = self._rehearse(*key)
        return self._known[key]

    def _rehearse(self, cache: CacheSettings, engine: EngineSettings, n_outputs: int, n_sequences: int) -> DryRunSizes:
        _, log = self._context(cache, engine, n_outputs, n_sequences)
        load_log.check(log, *lines_of_cache(self.structure))
        told = load_log.read(log).memory
        cells = padded(cache.n_ctx)
        window = swa_cells(cells, self.structure.n_swa * n_sequences, cache.micro_batch, full=cache.swa_full)
        cells_of = partial(_cells, cells=cells, window=window, cache=cache)
        plain = cells_of(self.structure.cached)
        kv = _exact(told.kv_bytes, plain.kv_bytes or 0)
        kv_swa = None if told.kv_swa_bytes is None else _exact(told.kv_swa_bytes, plain.kv_swa_bytes or 0)
        as_plain = (kv, kv_swa or 0) == (plain.kv_bytes or 0, plain.kv_swa_bytes or 0)
        return DryRunSizes(
            kv=kv,
            kv_swa=kv_swa,
            compute=told.compute_bytes or 0,
            rotates_keys=load_log.rotates_keys(log),
            buffers=self._buffers(log, cells_of if as_plain else lambda _: Memory()),
        )

    def _buffers(self, log: str, cells_of: Callable[[Sequence[Layer]], Memory]) -> tuple[Buffers, ...]:
        """By device. A dry run does not log the cells of each device: `cells_of` computes them from its layers."""
        structure = self.structure
        compute = {each.device: each.memory.compute_bytes for each in load_log.by_device(log)}
        devices = sorted({*structure.cached_on, *(name for name, size in compute.items() if size)}, key=host_first)
        found: list[Buffers] = []
        for device in devices:
            layers = [layer for layer, on in zip(structure.cached, structure.cached_on, strict=True) if on == device]
            memory = structs.replace(cells_of(layers), compute_bytes=compute.get(device))
            found.append(Buffers(device=device, memory=memory))
        return tuple(found)

    def _structure(self) -> ModelStructure:
        model = self._model
        if model.has_encoder:
            raise _no_chat(model, "it needs an encoder's output first")
        info = load_log.info(model.log)
        # A sliding window without a sliding layer, or the reverse: llama.cpp asserts that both agree.
        if (_WINDOW_KEY in info) != (info["is_swa_any"] == "1") and not model.hybrid:
            raise _unfit(model.path, "its sliding window and its sliding layers do not agree")
        small = CacheSettings(n_ctx=PAD, micro_batch=32, swa_full=True)
        with rope_in_graph.printed_graphs():
            can_shift, log = self._context(small, EngineSettings(), 1, 1)
        if can_shift is None:
            raise _no_chat(model, "it does not generate token by token and has no cache")
        n_all = load_log.number(info, "n_layer_all")
        heads, heads_kv, widths_k, widths_v = (
            load_log.by_layer(info, key, n_all) for key in ("n_head", "n_head_kv", "n_embd_k_gqa", "n_embd_v_gqa")
        )
        placed = tuple(load_log.placed(model.log, n_all))
        slides = tuple(load_log.sliding(model.log)[: model.n_layer])
        cached, cached_swa = self._cached(log, slides)
        return ModelStructure(
            n_layer=model.n_layer,
            n_head=max(heads),
            n_head_kv=max(heads_kv),
            head_dims_k=_dims(info, "n_embd_head_k"),
            head_dims_v=_dims(info, "n_embd_head_v"),
            n_ctx_train=model.n_ctx_train,
            n_embd=model.n_embd,
            n_params=model.n_params,
            quantization=model.quantization,
            slides=slides,
            n_swa=model.n_swa if any(slides) else 0,
            several_positions=model.several_positions,
            recurrent=model.recurrent,
            hybrid=model.hybrid,
            can_shift=can_shift,
            keys_are_roped=not model.ropes or rope_in_graph.keys_are_roped(log, cached + cached_swa),
            cached=tuple(Layer(widths_k[i], widths_v[i], False) for i in cached)
            + tuple(Layer(widths_k[i], widths_v[i], True) for i in cached_swa),
            cached_on=tuple(placed[i] for i in cached + cached_swa),
            placed=placed,
        )

    def _cached(self, log: str, slides: Sequence[bool]) -> tuple[list[int], list[int]]:
        """The layers with cells: the global ones, and the sliding ones. BuildError where the log does not say."""
        model = self._model
        if not model.recurrent:
            load_log.check(log, "cached layer")
            if model.ropes:
                rope_in_graph.check(log)
        if any(slides) and not model.hybrid:
            load_log.check(log, "sliding cells")
        return load_log.cached(log)

    def _context(
        self, cache: CacheSettings, engine: EngineSettings, n_outputs: int, n_sequences: int
    ) -> tuple[bool | None, str]:
        """Whether the cache can shift (None where there is no cache), and the log."""
        with whole_log() as log:
            try:
                context = llama.Context(self._model, cache, engine, n_outputs=n_outputs, n_sequences=n_sequences)
            except ModelError as error:
                why = load_log.reason("".join(log))
                raise ModelError(f"llama.cpp cannot make this cache: {why}.", error.todo) from None
            try:
                return context.can_shift if context.exists else None, "".join(log)
            finally:
                context.close()


def lines_of_cache(structure: ModelStructure) -> list[str]:
    """The lines that must be logged for any cache of this model (chatapp.engine.native.load_log.LINES)."""
    lines = ["compute"]
    if structure.cached:
        lines += ["cells", "rotation"]
    if any(layer.slides for layer in structure.cached):
        lines.append("sliding cells")
    if structure.recurrent or structure.hybrid:
        lines.append("state")
    return lines


def lines_of_load(structure: ModelStructure) -> list[str]:
    """The lines that must be logged once everything is allocated."""
    by_device = [f"{kind} by device" for kind in ("cells", "state") if kind in lines_of_cache(structure)]
    return ["weights", *lines_of_cache(structure), *by_device]


def refuse_fatal(meta: GgufMeta) -> None:
    """ModelError for metadata on which llama.cpp ends the process (its assertions in load_hparams)."""
    scaling = meta.text("rope.scaling.type")
    if scaling is not None and scaling not in ROPE_SCALINGS:
        raise _unfit(meta.path, f"unknown rope scaling {scaling!r}")
    n_layer = meta.number("block_count")
    if n_layer is not None and not 0 < n_layer <= MOST_LAYERS:
        raise _unfit(meta.path, f"it has {n_layer} layers")
    extra = meta.number("nextn_predict_layers") or 0
    if n_layer is not None and extra > n_layer:
        raise _unfit(meta.path, f"{extra} of its {n_layer} layers only predict ahead")
    experts, used = meta.number("expert_count") or 0, meta.number("expert_used_count") or 0
    groups, used_groups = meta.number("expert_group_count") or 0, meta.number("expert_group_used_count") or 0
    if experts > MOST_EXPERTS or used > experts or (experts > 0) != (used > 0):
        raise _unfit(meta.path, f"it uses {used} of {experts} experts")
    if groups and (groups >= experts or (groups > 1 and (experts % groups or not 0 < used_groups < groups))):
        raise _unfit(meta.path, f"it uses {used_groups} of {groups} groups of {experts} experts")


def _unfit(path: Path, what: str) -> ModelError:
    return ModelError(f"{path}: llama.cpp cannot load this model: {what}.", "Choose another file.")


def _no_chat(model: DryModel, why: str) -> ModelError:
    return ModelError(f"{model.path} is not a model to chat with: {why}.", "Choose another file.")


def _dims(info: dict[str, str], key: str) -> frozenset[int]:
    """Sizes of a head, over global and sliding layers; none where no layer attends."""
    found = (load_log.number(info, name) for name in (key, f"{key}_swa") if name in info)
    return frozenset(size for size in found if size)


def _cells(layers: Sequence[Layer], cells: int, window: int, cache: CacheSettings) -> Memory:
    """The memory of plain cells of these layers; None for a kind that none of them has."""
    fixed, sliding = ([layer for layer in layers if layer.slides == slides] for slides in (False, True))
    return Memory(
        kv_bytes=kv_bytes(fixed, cells, cache.type_k, cache.type_v) if fixed else None,
        kv_swa_bytes=kv_bytes(sliding, window, cache.type_k, cache.type_v) if sliding else None,
    )


def _exact(told: int | None, computed: int) -> int:
    """The exact size where the log's rounded one is that of plain cells; the logged one for other kinds of cache."""
    if told is None or abs(told - computed) <= load_log.ROUNDING_BYTES:
        return computed
    return told
