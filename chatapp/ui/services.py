"""What the interface needs from the rest of the program, as plain callables, so that tests can pass others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

from chatapp import garbage
from chatapp.errors import UserError
from chatapp.ui import clipboard
from chatapp.ui.clipboard import Copied, terminal_only
from chatapp.ui.layout import LayoutFile

if TYPE_CHECKING:
    from textual.theme import Theme

    from chatapp.engine.client import Engine
    from chatapp.presentation.host_reading import ReadMemory
    from chatapp.protocol.values import HostMemory
    from chatapp.replay.record import Recorder
    from chatapp.store import SavedCaches, Store


@dataclass(frozen=True)
class Choice:
    """One entry of a list to choose from: its value, its title, and a note on it."""

    value: str
    title: str
    note: str = ""
    offered: bool = True
    """False for an entry that is shown but cannot be selected."""


@dataclass(frozen=True)
class Services:
    """Each may be slow and is called after the first paint; `resolve`, `models` and `store` in a thread."""

    engine: "Callable[[], Engine]"
    store: "Callable[[], Store]"
    resolve: Callable[[str | None], tuple[str, Path]]
    """The model that was asked for (None: the last used, else the starter), as its name and its file."""
    models: Callable[[], Sequence[Choice]]
    remember: Callable[[str], None]
    """Keep this model as the last used."""
    theme: "Callable[[str], Theme | None]"
    """The theme of this name, if it is quick to load; the only theme that the first paint waits for."""
    themes: "Callable[[], tuple[list[Theme], list[str]]]"
    """The themes, and what is wrong with those that cannot be used."""
    saved: "Callable[[int], SavedCaches] | None" = None
    """Where the caches of that many conversations are kept; None if none are."""
    layout: LayoutFile | None = None
    """Where the inspector's layout is kept; None if it is not kept. Read before the first paint."""
    cpu_s: Callable[[], float] = process_time
    """Processor time of the interface's process so far."""
    settle: Callable[[], None] = garbage.settle
    """Collect garbage, at a moment when nobody waits."""
    copy: Callable[[str], Copied] = terminal_only
    """Copies a text; it may take seconds, and is called in a thread."""
    trouble: Callable[[], str | None] = lambda: None
    """What has gone wrong with the recording and was not told yet."""
    store_wait_s: float = 0.02
    """How long the event loop waits for a write before it goes on and is called back: a frame."""
    memory: "ReadMemory | None" = None
    """Reads the host's memory while the engine reports nothing; None if it is not read."""


def real_services() -> Services:
    """The services of the installed program. Nothing is imported before it is needed."""
    return Services(
        engine=_engine,
        store=_store,
        resolve=_resolve,
        models=_models,
        remember=_remember,
        theme=_theme,
        themes=_themes,
        saved=_saved,
        layout=_layout(),
        memory=_memory,
        copy=clipboard.copy,
    )


def recorded(services: Services, recorder: "Recorder") -> Services:
    """The same services, except that each engine records its commands and events in a trace."""

    def engine() -> "Engine":
        from chatapp.replay.record import RecordedEngine

        return RecordedEngine(services.engine(), recorder)

    return replace(services, engine=engine, trouble=recorder.new_trouble)


def _engine() -> "Engine":
    from chatapp.engine.client import EngineClient
    from chatapp.paths import state_dir

    return EngineClient(state_dir() / "engine.log")


def _store() -> "Store":
    from chatapp.paths import store_file
    from chatapp.store import Store

    return Store.open(store_file())


def _resolve(spec: str | None) -> tuple[str, Path]:
    from chatapp import models

    name = models.default_model() if spec is None else spec
    return name, models.resolve(name)


def _models() -> Sequence[Choice]:
    from chatapp import models
    from chatapp.presentation.format import size

    found: list[Choice] = []
    for model in models.known():
        note = " · ".join(part for part in (size(model.size_bytes), model.quantization or "", model.source) if part)
        found.append(Choice(model.name, model.name, note))
    return found


def _saved(keep: int) -> "SavedCaches":
    from chatapp.paths import saved_caches_dir
    from chatapp.store import SavedCaches

    caches = SavedCaches(saved_caches_dir(), keep)
    caches.prune()
    return caches


def _layout() -> LayoutFile | None:
    from chatapp.paths import state_dir

    try:
        return LayoutFile(state_dir() / "layout.json")
    except UserError:  # the engine's log needs this folder too, and its error is the one to show
        return None


def _memory(pid: int) -> "tuple[HostMemory, int] | None":
    from chatapp.presentation.host_reading import read_memory

    return read_memory(pid)


def _remember(spec: str) -> None:
    from chatapp import models

    models.remember(spec)


def _theme(name: str) -> "Theme | None":
    from chatapp.paths import data_dir, user_themes_dir
    from chatapp.ui.themes import load_theme

    return load_theme(name, [data_dir() / "themes", user_themes_dir()])


def _themes() -> "tuple[list[Theme], list[str]]":
    from chatapp.paths import data_dir, user_themes_dir
    from chatapp.ui.themes import load_themes

    return load_themes([data_dir() / "themes", user_themes_dir()])
