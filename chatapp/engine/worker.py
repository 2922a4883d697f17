"""The engine process: reads commands from standard input, drives llama.cpp, writes events to a pipe of its own.

Run as `python -m chatapp.engine.worker FD` by chatapp.engine.client. Standard output is moved away before llama.cpp is
loaded, so that nothing a library prints can break a frame. When the interface's process ends, for whatever reason, this
one ends at once, so that no orphan holds a GPU's memory: FD is a pipe of which the interface holds the other end, and
nothing else (`lifeline`); the thread that reads the commands notices the end of theirs.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from msgspec import structs

from chatapp import garbage, processors
from chatapp.engine import lifeline
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native import build, llama, load_log
from chatapp.engine.native.devices import devices
from chatapp.engine.pipe import Pipe
from chatapp.engine.planning.load_plan import Prepared, check_fits, free_bytes, prepare, runs_on_gpu
from chatapp.engine.probe import sampling
from chatapp.engine.probe.tap import Tap
from chatapp.engine.session.session import Session
from chatapp.engine.session.thoughts import Thinking
from chatapp.engine.sinks.count import settle as settle_sinks
from chatapp.engine.template import prompt_rendering
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.model_template import template_of
from chatapp.engine.thread_tuner import ThreadTuner, fixed
from chatapp.errors import BuildError, SwachatError, UserError
from chatapp.protocol.codec import AnyCommand
from chatapp.protocol.commands import (
    Examine,
    Forecast,
    Load,
    Measure,
    Open,
    Pin,
    Recall,
    Regenerate,
    RenderPrompt,
    Save,
    Send,
    Several,
    ShowWindow,
    Spell,
    Undo,
)
from chatapp.protocol.events import (
    Calibrating,
    Examined,
    Failed,
    Loaded,
    LoadProgress,
    Started,
    Tokenizing,
)
from chatapp.protocol.values import CacheSettings, Device, EngineSettings, Sinks, Threads

DEVICES_INTERVAL_S = 1.0
LOAD_STEP = 0.01
PROBE_EVERY = 32
"""Tokens from one sample of the probe to the next, unless set."""


class Worker:
    """One model at a time, and the conversation on it."""

    def __init__(self, pipe: Pipe, sweep: Callable[[], None] = garbage.sweep) -> None:
        """`sweep` is called after each turn."""
        self._pipe, self._sweep = pipe, sweep
        self._model: llama.Model | None = None
        self._context: llama.Context | None = None
        self._template: ChatTemplate | None = None
        self._session: Session | None = None
        self._probe: sampling.ProbeSampler | None = None
        self._devices: list[Device] = []
        self._devices_at = 0.0
        self._load_shown = 0.0
        self._forecasting = False

    def run(self) -> None:
        """Carry out commands until the process ends."""
        self._pipe.emit(self._started())
        while True:
            command = self._pipe.next()
            try:
                self._do(command)
            except CancelledError as stop:
                self._fail("user", "Stopped.", str(stop))
            except UserError as error:
                self._fail("user", error.what, error.todo)
            except SwachatError as error:
                if self._pipe.cancelled():  # llama.cpp reports a cancelled load as a failed one
                    self._fail("user", "Stopped.", "")
                    continue
                self._fail(_kind(command, error), error.what, error.todo)

    def _fail(self, kind: str, what: str, todo: str) -> None:
        self._pipe.emit(Failed(at_s=time.time(), kind=kind, what=what, todo=todo))

    def _started(self) -> Started:
        reads, (python, cpp, info) = build.reads(), llama.versions()
        usable = reads["functions"].ok
        if usable:
            llama.init()
        return Started(
            at_s=time.time(),
            pid=os.getpid(),
            llama_cpp_python=python,
            llama_cpp=cpp,
            system_info=info,
            gpu_offload=usable and llama.supports_gpu(),
            devices=self._current_devices() if usable else [],
            reads=reads,
        )

    def _current_devices(self) -> list[Device]:
        if time.monotonic() - self._devices_at > DEVICES_INTERVAL_S:
            self._devices, self._devices_at = devices(), time.monotonic()
        return self._devices

    def _do(self, command: AnyCommand) -> None:
        if isinstance(command, Load):
            self._load(command)
        elif isinstance(command, Examine):
            self._examine(command)
        elif isinstance(command, RenderPrompt):
            build.check()
            self._pipe.emit(prompt_rendering.rendered(command, self._pipe.cancelled))
        elif self._session is None:
            for _ in self._pipe.questions():  # they would be answered once there is a model
                pass
            raise UserError("No model is loaded.", "Choose one.")
        else:
            self._converse(command, self._session)
            if isinstance(command, Send | Regenerate):
                self._sweep()

    def _converse(self, command: AnyCommand, session: Session) -> None:
        match command:
            case Open(system=system, messages=messages, state=state, pinned=pinned):
                session.open(system, messages, Path(state) if state is not None else None, pinned)
            case Save(path=path):
                session.save(Path(path))
            case Send(turn=turn, text=text, sampling=sampling):
                session.send(turn, text, sampling)
            case Regenerate(turn=turn, sampling=sampling):
                session.regenerate(turn, sampling)
            case Undo(turn=turn):
                session.undo(turn)
            case Pin(turn=turn, pinned=pinned):
                session.pin(turn, pinned)
            case Recall(turns=turns, agreed=agreed):
                session.recall(turns, agreed=agreed)
            case Several(system=system, prompts=prompts, sampling=sampling):
                session.several(system, prompts, sampling)
            case Forecast():
                self._forecast(command, session)
            case Spell() | ShowWindow():
                self._answer()
            case Measure():
                session.measure(command)
            case _:
                raise AssertionError("the reading thread takes these")

    def _forecast(self, command: Forecast, session: Session) -> None:
        """A forecast of a long draft is given up, unanswered, once there is something newer to do."""
        self._forecasting = True
        try:
            session.forecast(command.id, command.text, self._gives_up)
        except CancelledError:
            pass
        finally:
            self._forecasting = False

    def _gives_up(self) -> bool:
        return self._pipe.cancelled() or (self._forecasting and self._pipe.superseded())

    def _long_text(self, n_characters: int) -> None:
        if not self._forecasting:
            self._pipe.emit(Tokenizing(at_s=time.time(), characters=n_characters))

    def _answer(self) -> None:
        if self._session is not None:
            for question in self._pipe.questions():
                if isinstance(question, Spell):
                    self._session.spell(question.pos, question.n)
                else:
                    self._session.show_window()

    # ------------------------------------------------------------------ loading

    def _load(self, command: Load) -> None:
        began = time.perf_counter()
        build.check()
        self._unload()
        self._load_shown = 0.0
        gpu = runs_on_gpu(command.engine)
        free = free_bytes(self._current_devices(), gpu=gpu)
        prepared = prepare(
            Path(command.path), command.cache, scoring=command.scoring, engine=command.engine, free_bytes=free
        )
        if command.strict_memory:
            check_fits(prepared, free, gpu=gpu)
        model = llama.Model(prepared.path, gpu_layers=command.engine.gpu_layers, on_progress=self._progress)
        self._model = model
        warnings: list[str] = []
        if prepared.cache.n_ctx > model.n_ctx_train > 0:
            warnings.append(
                f"The window has {prepared.cache.n_ctx} tokens; the model was trained for {model.n_ctx_train}."
            )
        template = template_of(
            model,
            warnings,
            own=command.engine.chat_template,
            variables=dict(command.engine.template_args),
            cancelled=self._gives_up,
            on_long=self._long_text,
        )
        self._template = template
        sinks = self._sinks(prepared, free, lambda: nullcontext(model))
        cache = structs.replace(prepared.cache, sinks=sinks.n)
        tap = Tap(always=command.engine.probe_always) if prepared.capability.probe.ok else None
        context = llama.Context(
            model,
            cache,
            command.engine,
            n_outputs=prepared.n_outputs,
            n_sequences=prepared.n_sequences,
            callback=tap.callback if tap is not None and command.engine.probe_always else None,
        )
        self._context = context
        self._pipe.on_cancel = context.abort.request
        log = model.log + context.log
        load_log.check(log, *prepared.log_lines)
        measured = load_log.read(log)
        self._session = Session(
            model,
            context,
            template,
            cache,
            capability=prepared.capability,
            n_swa=prepared.model.n_swa,
            n_ctx_swa=measured.swa_cells,
            emit=self._pipe.emit,
            cancelled=self._pipe.cancelled,
            devices=self._current_devices,
            probe=self._new_probe(context, tap, prepared, command),
            threads=_threads(context, command.engine, cache, on_gpu=gpu and measured.on_gpu),
            between=self._answer,
            thinking=Thinking.of(model, template.source),
            answer_now=self._pipe.answer_now,
        )
        self._pipe.emit(
            Loaded(
                at_s=time.time(),
                model=structs.replace(prepared.model, n_params=model.n_params, quantization=model.quantization),
                capability=prepared.capability,
                n_ctx=context.n_ctx,
                n_ctx_swa=measured.swa_cells,
                policy=prepared.capability.policy,
                planned=prepared.planned(),
                measured=measured.memory,
                on_gpu=gpu and measured.on_gpu,
                load_s=time.perf_counter() - began,
                warnings=warnings,
                sinks=sinks,
                slides=list(prepared.slides),
                buffers=load_log.by_device(log),
                planned_buffers=list(prepared.buffers),
            )
        )
        garbage.settle()

    def _new_probe(
        self, context: llama.Context, tap: Tap | None, prepared: Prepared, command: Load
    ) -> sampling.ProbeSampler | None:
        if tap is not None and not command.scoring:
            every, wanted = command.engine.probe_every, self._pipe.probe_wanted
            if every is None:  # sampling from GPU buffers was never timed
                every = 0 if runs_on_gpu(command.engine) else PROBE_EVERY
            self._probe = sampling.ProbeSampler(context, tap, every=every, slides=prepared.slides, requested=wanted)
        return self._probe

    def _examine(self, command: Examine) -> None:
        build.check()
        free = free_bytes(self._current_devices(), gpu=runs_on_gpu(command.engine))
        prepared = prepare(Path(command.path), command.cache, engine=command.engine, free_bytes=free)

        def loaded() -> AbstractContextManager[llama.Model]:
            self._load_shown = 0.0
            return closing(llama.Model(prepared.path, gpu_layers=command.engine.gpu_layers, on_progress=self._progress))

        sinks = self._sinks(prepared, free, loaded)
        self._pipe.emit(
            Examined(
                at_s=time.time(),
                model=prepared.model,
                slides=list(prepared.slides),
                capability=prepared.capability,
                sinks=sinks,
                n_ctx=prepared.cache.n_ctx,
                planned=prepared.planned(),
                largest_ctx=prepared.largest_window(free),
                free_bytes=free,
            )
        )

    def _sinks(self, prepared: Prepared, free: int, model: Callable[[], AbstractContextManager[llama.Model]]) -> Sinks:
        def report(done: int, total: int) -> None:
            self._pipe.emit(Calibrating(at_s=time.time(), done=done, total=total))

        return settle_sinks(prepared, free, model, on_progress=report, cancelled=self._pipe.cancelled)

    def _unload(self) -> None:
        self._session = None
        if self._template is not None:
            self._template.close()
            self._template = None
        self._pipe.on_cancel = lambda: None
        if self._probe is not None:
            self._probe.close()
            self._probe = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._model is not None:
            self._model.close()
            self._model = None
        self._devices_at = 0.0  # so that the freed memory is read again

    def _progress(self, fraction: float) -> bool:
        if fraction >= self._load_shown + LOAD_STEP or fraction >= 1:
            self._load_shown = fraction
            self._pipe.emit(LoadProgress(at_s=time.time(), fraction=fraction))
        return not self._pipe.cancelled()


def _threads(
    context: llama.Context, engine: EngineSettings, cache: CacheSettings, *, on_gpu: bool
) -> Callable[[], Threads | None]:
    """Sets the context's numbers of threads from now on; how many there are."""
    if on_gpu:
        return lambda: None
    if engine.threads is not None:
        return lambda: fixed(context.n_threads)
    tuner = ThreadTuner(processors.usable(), cache.micro_batch, context.set_threads)
    context.on_decoded = tuner.took
    return lambda: tuner.threads


def _kind(command: AnyCommand, error: SwachatError) -> str:
    """The kind of a Failed event that is not a user error."""
    if isinstance(command, Load):
        return "model"
    return "build" if isinstance(error, BuildError) else "engine"


def main() -> None:
    """Redirect the standard streams and run until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifeline.tie(int(sys.argv[1]))
    source, sink = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    pipe = Pipe(source, sink)
    pipe.start()
    Worker(pipe).run()


if __name__ == "__main__":
    sys.exit(main())
