"""The engine process: commands in on standard input, events out on a pipe of its own, llama.cpp in between.

Run as `python -m chatapp.engine.worker` by chatapp.engine.client. Standard output is moved away before llama.cpp is
loaded, so that nothing a library prints can break a frame. When the pipe from the interface closes, however it closed, the process
ends at once: no orphan keeps a GPU's memory.
"""

import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import psutil

from chatapp.cache import plan as plans
from chatapp.engine import capability as capabilities
from chatapp.engine import gguf_meta, llama, load_log, scoring
from chatapp.engine.protocol import (
    AnyCommand,
    AnyEvent,
    Cancel,
    Device,
    Failed,
    Forecast,
    Load,
    Loaded,
    LoadProgress,
    Measure,
    Memory,
    Open,
    Regenerate,
    Send,
    Shutdown,
    Started,
    Undo,
    Warned,
    decode_command,
    encode,
)
from chatapp.engine.resident import CancelledError
from chatapp.engine.session import Session
from chatapp.engine.template import ChatTemplate, fallback
from chatapp.errors import SwachatError, UserError
from msgspec import structs

DEVICES_INTERVAL_S = 1.0
MEMORY_MARGIN = 0.95
"""Share of the free memory that a plan may take."""


class Pipe:
    """Frames in and out. Reading happens on a thread, so that Cancel and the end of the pipe are seen during a decode."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self.commands: queue.SimpleQueue[AnyCommand] = queue.SimpleQueue()
        self.cancel = threading.Event()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(self._source, "rb") as source:
            while len(head := source.read(4)) == 4:
                command = decode_command(source.read(int.from_bytes(head, "little")))
                if isinstance(command, Shutdown):
                    break
                if isinstance(command, Cancel):
                    self.cancel.set()
                else:
                    self.commands.put(command)
        os._exit(0)

    def emit(self, event: AnyEvent) -> None:
        """Write one event; where nobody reads any more, end."""
        data = memoryview(encode(event))
        try:
            while data:
                data = data[os.write(self._sink, data) :]
        except OSError:
            os._exit(0)


class Worker:
    """One model at a time, and the conversation on it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._model: llama.Model | None = None
        self._context: llama.Context | None = None
        self._session: Session | None = None
        self._devices: list[Device] = []
        self._devices_at = 0.0

    def run(self) -> None:
        """Do commands until the process ends."""
        self._pipe.emit(self._started())
        while True:
            command = self._pipe.commands.get()
            self._pipe.cancel.clear()
            try:
                self._do(command)
            except CancelledError:
                self._fail("user", "Stopped.", "")
            except UserError as error:
                self._fail("user", error.what, error.todo)
            except SwachatError as error:
                self._fail("model" if isinstance(command, Load) else "engine", error.what, error.todo)

    def _fail(self, kind: str, what: str, todo: str) -> None:
        self._pipe.emit(Failed(at_s=time.time(), kind=kind, what=what, todo=todo))

    def _started(self) -> Started:
        llama.init()
        python, cpp, info = llama.versions()
        return Started(
            at_s=time.time(),
            pid=os.getpid(),
            llama_cpp_python=python,
            llama_cpp=cpp,
            system_info=info,
            gpu_offload=llama.supports_gpu(),
            devices=self._current_devices(),
        )

    def _current_devices(self) -> list[Device]:
        if time.monotonic() - self._devices_at > DEVICES_INTERVAL_S:
            self._devices, self._devices_at = llama.devices(), time.monotonic()
        return self._devices

    def _do(self, command: AnyCommand) -> None:
        if isinstance(command, Load):
            self._load(command)
            return
        session = self._session
        if session is None or self._model is None:
            raise UserError("No model is loaded.", "Choose one.")
        match command:
            case Open(system=system, messages=messages):
                session.open(system, messages)
            case Send(turn=turn, text=text, sampling=sampling):
                session.send(turn, text, sampling)
            case Regenerate(turn=turn, sampling=sampling):
                session.regenerate(turn, sampling)
            case Undo(turn=turn):
                session.undo(turn)
            case Forecast(id=request, text=text):
                session.foresee(request, text)
            case Measure(text=text, max_tokens=max_tokens):
                scoring.measure(self._model, session.resident, text, max_tokens, self._pipe.emit)
            case Cancel() | Shutdown():
                pass  # the reading thread has acted on it

    # ------------------------------------------------------------------ loading

    def _load(self, command: Load) -> None:
        began = time.perf_counter()
        self._unload()
        path = Path(command.path)
        meta = gguf_meta.read(path)
        model = capabilities.facts(meta)
        capabilities.check_types(command.cache)
        n_ctx = plans.padded(command.cache.n_ctx)
        micro_batch = max(32, min(command.cache.micro_batch, n_ctx // 8))
        cache = structs.replace(command.cache, n_ctx=n_ctx, micro_batch=micro_batch)
        capability = capabilities.capability(model, cache)
        n_outputs = micro_batch if command.scoring else 1
        shape = capabilities.shape(meta)
        planned = plans.plan(
            shape,
            n_ctx=n_ctx,
            micro_batch=micro_batch,
            type_k=cache.type_k,
            type_v=cache.type_v,
            swa_full=cache.swa_full,
            n_outputs=n_outputs,
        )
        gpu = llama.supports_gpu() and command.engine.gpu_layers != 0
        if command.strict_memory:
            self._check_fits(shape, planned, cache.type_k, cache.type_v, cache.swa_full, micro_batch, n_outputs, gpu)
        self._model = llama.Model(path, gpu_layers=command.engine.gpu_layers, on_progress=self._progress)
        warnings: list[str] = []
        if n_ctx > self._model.n_ctx_train > 0:
            warnings.append(f"The window of {n_ctx} is longer than the {self._model.n_ctx_train} the model was trained on.")
        template = self._template(self._model, warnings)
        self._context = llama.Context(self._model, cache, command.engine, n_outputs=n_outputs)
        measured = load_log.read(self._model.log + self._context.log)
        n_ctx_swa = measured.swa_cells
        self._session = Session(
            self._model,
            self._context,
            template,
            cache,
            policy=capability.policy,
            n_swa=model.n_swa,
            n_ctx_swa=n_ctx_swa,
            emit=self._pipe.emit,
            cancelled=self._pipe.cancel.is_set,
            devices=self._current_devices,
        )
        self._pipe.emit(
            Loaded(
                at_s=time.time(),
                model=structs.replace(model, n_params=self._model.n_params, quantization=self._model.quantization),
                capability=capability,
                n_ctx=self._context.n_ctx,
                n_ctx_swa=n_ctx_swa,
                policy=capability.policy,
                planned=Memory(
                    weights_bytes=planned.weights,
                    kv_bytes=planned.kv,
                    kv_swa_bytes=planned.kv_swa if model.n_swa else None,
                    compute_bytes=planned.compute,
                ),
                measured=measured.memory,
                on_gpu=gpu and measured.on_gpu,
                load_s=time.perf_counter() - began,
                warnings=warnings,
            )
        )

    def _unload(self) -> None:
        self._session = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _progress(self, fraction: float) -> bool:
        self._pipe.emit(LoadProgress(at_s=time.time(), fraction=fraction))
        return not self._pipe.cancel.is_set()

    def _check_fits(
        self,
        shape: plans.Shape,
        planned: plans.Bytes,
        type_k: str,
        type_v: str,
        swa_full: bool,
        micro_batch: int,
        n_outputs: int,
        gpu: bool,
    ) -> None:
        """UserError where the plan is larger than the memory it would be made in."""
        if gpu:
            free = sum(device.free_bytes or 0 for device in self._current_devices() if device.kind in ("gpu", "igpu"))
        else:
            free = psutil.virtual_memory().available
        budget = int(free * MEMORY_MARGIN)
        if planned.total <= budget:
            return
        largest = plans.largest_window(
            shape,
            budget,
            micro_batch=micro_batch,
            type_k=type_k,
            type_v=type_v,
            swa_full=swa_full,
            n_outputs=n_outputs,
        )
        where = "the GPU" if gpu else "memory"
        raise UserError(
            f"This window needs {_gib(planned.total)} ({_gib(planned.weights)} of weights, "
            f"{_gib(planned.kv + planned.kv_swa)} of KV cache), and {where} has {_gib(free)} free.",
            f"The largest window that fits is --ctx {largest}." if largest else "Not even a window of 256 tokens fits.",
        )

    def _template(self, model: llama.Model, warnings: list[str]) -> ChatTemplate:
        spellings = model.control_spellings()
        source = model.chat_template()
        if source is None:
            source, name = fallback(spellings)
            warnings.append(f"The model brings no chat template; a {name} one is used. It may not be a chat model.")
        return ChatTemplate(
            source,
            tokenize=lambda text, special: model.tokenize(text, special=special),
            spellings=spellings,
            bos=model.named_token("bos"),
            eos=model.named_token("eos"),
            add_bos=model.bos,
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def main() -> None:
    """Take over the standard streams and work until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    pipe = Pipe(source, sink)
    pipe.start()
    Worker(pipe).run()


if __name__ == "__main__":
    sys.exit(main())
