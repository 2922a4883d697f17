"""The screen of a replay: transcript, inspector and status as in the chat, and a bar to move through the trace.

Everything on it comes from the trace. There is no engine that a key could reach, and no store.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer

from chatapp.errors import UserError
from chatapp.presentation.format import rate
from chatapp.presentation.memory_pressure import MemoryWatch
from chatapp.presentation.remark import Remark
from chatapp.presentation.transcript_at import TranscriptAt
from chatapp.presentation.visibility import TurnVisibility
from chatapp.protocol.events import Loaded, Snapshot
from chatapp.replay.lines import OWN
from chatapp.replay.player import Player
from chatapp.text import LONGEST_SENTENCE, one_line
from chatapp.ui.action_table import ACTIONS, Action, bindings, do
from chatapp.ui.actions.handlers import REPLAY_HANDLERS
from chatapp.ui.base_app import BaseApp
from chatapp.ui.inspector_pane import InspectorPane, KeptLayout
from chatapp.ui.replay_messages import ReplayMessages
from chatapp.ui.textual_fixes.compositor import SparingScreen
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
from chatapp.ui.widgets.inspector.side import Side
from chatapp.ui.widgets.scrubber import Scrubber
from chatapp.ui.widgets.status import Status, StatusBar
from chatapp.ui.widgets.transcript.replay_transcript import ReplayTranscript

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from chatapp.config import Config
    from chatapp.ui.widgets.inspector.cell_grid import TurnChosen

MOST_EVENTS = 2000
"""More events than this between two frames are a jump: the inspector gets only those that it needs."""
T = TypeVar("T")


class ReplayScreen(SparingScreen):
    """See the module. It is the `ReplayHost` of its actions."""

    BINDINGS = [
        *bindings("replay"),
        *(action.binding() for action in ACTIONS if action.place == "screen" and action.id in REPLAY_HANDLERS),
        Binding("q", do("quit"), "Quit", show=False),
    ]
    AUTO_FOCUS = "Scrubber"
    app: BaseApp  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed
    pane: InspectorPane
    """Laid out as in the chat; changes made here are not kept."""

    def __init__(self, player: Player) -> None:
        super().__init__()
        self._player = player
        self._index = player.timeline.index
        self._story = TranscriptAt(self._index)
        self._messages = ReplayMessages()
        self._shown = 0
        """The position that the inspector shows."""
        self._loaded: Loaded | None = None
        self._snapshot: Snapshot | None = None
        self._memory = MemoryWatch()
        self._told: list[Remark] = [Remark("warning", notice) for notice in self._index.notices]
        """Notices about the trace file itself, after everything else."""
        self._ticks: Timer | None = None
        self._ticked_at = 0.0

    def compose(self) -> ComposeResult:
        ui = self.app.config.ui
        layout, _ = KeptLayout(self, self.app.services.layout).load()
        self.pane = InspectorPane(self, ui, layout, home=Scrubber)
        self.pane.fill(Inspector(frames_per_second=ui.frames_per_second, layout=layout), InspectorLine())
        with Horizontal(id="main"):
            with Vertical(id="chat"):
                yield ReplayTranscript(markdown=ui.markdown, show_stats=ui.show_stats)
            with Side(id="side"):
                yield self.pane.inspector
        with Container(id="inspector-line"):
            yield self.pane.line
        yield Scrubber(self._player)
        yield StatusBar()

    def on_mount(self) -> None:
        """Show the starting position, from which it can be played."""
        ui = self.app.config.ui
        self.query_one(ReplayTranscript).welcome("Space plays · ← → five seconds\n[ ] turns · e evictions\nF1 help")
        self._ticks = self.set_interval(1 / ui.frames_per_second, self._tick, pause=True)
        self.pane.apply_layout()
        self.refresh_place()

    def on_resize(self) -> None:
        """Fit the inspector to the new width."""
        self.pane.fit()

    def on_side_sized(self, event: Side.Sized) -> None:
        """The edge was dragged."""
        event.stop()
        self.pane.take_width(event.width)

    # ----------------------------------------------------------------------- showing a place

    def refresh_place(self) -> None:
        """Show everything as it was at the player's position."""
        position = self._player.position
        self._show_inspector(position)
        self._story.go_to(position)
        self._show_transcript()
        self.query_one(Scrubber).refresh()
        self.show_status()

    def _show_inspector(self, position: int) -> None:
        """Go forward event by event; to any other position, from the few events that describe it."""
        if self._shown <= position <= self._shown + MOST_EVENTS:
            entries = range(self._shown, position)
        else:
            entries = self._player.timeline.shown_at(position)
            self.pane.start_over()
            self._loaded = self._snapshot = None
            self._memory = MemoryWatch()
        self._shown = position
        for number in entries:
            try:
                entry = self._index.entry(number)
            except UserError as error:
                self._tell(str(error))
                continue
            if isinstance(entry, OWN):
                continue
            self.pane.show(entry)
            self._memory.take(entry)
            if isinstance(entry, Loaded):
                self._loaded, self._snapshot = entry, None
            elif isinstance(entry, Snapshot):
                self._snapshot = entry
        self.pane.inspector.show_pressure(self._memory.pressure)

    def _show_transcript(self) -> None:
        transcript = self.query_one(ReplayTranscript)
        changes = self._messages.changes(self._story.items)
        transcript.show_exactly([*changes.pieces, *self._told])
        if changes.growing is not None and (view := transcript.view_of(changes.growing)) is not None:
            view.grow(changes.grown, sparing=False)
        for said in changes.ended:
            if (view := transcript.view_of(said)) is not None:
                view.end()
        if self._snapshot is not None:
            transcript.show_visibility(TurnVisibility(self._snapshot))

    def show_status(self) -> None:
        """Show the trace, the speed, and the figures at this position."""
        player, loaded, snapshot = self._player, self._loaded, self._snapshot
        window = speed = device = policy = ""
        if loaded is not None:
            device, policy = ("GPU" if loaded.on_gpu else "CPU"), loaded.policy
        if snapshot is not None:
            window = f"{snapshot.n_used:,}/{snapshot.n_ctx:,} tokens"
            speed = f"{rate(snapshot.decode_tok_s)} tok/s" if snapshot.decode_tok_s is not None else ""
        phase = f"▶ {player.speed:g}×" if player.playing else f"paused {player.speed:g}×"
        style = "$text-success" if player.playing else "$text-accent"
        status = Status(phase, window, speed, device, policy, f"replay of {self._index.path.name}", style)
        self.query_one(StatusBar).show(status)

    def _tell(self, text: str) -> None:
        """Show what is wrong with the trace, once."""
        if all(remark.text != text for remark in self._told):
            self._told.append(Remark("error", text))

    # ----------------------------------------------------------------------- playing

    def _tick(self) -> None:
        now = time.monotonic()
        elapsed_s, self._ticked_at = now - self._ticked_at, now
        before = self._player.position
        self._player.advance(elapsed_s)
        self._keep_time()
        if self._player.position != before:
            self.refresh_place()
        else:
            self.query_one(Scrubber).refresh()

    def _keep_time(self) -> None:
        """Run the clock only while it plays."""
        if self._ticks is None:
            return
        if self._player.playing:
            self._ticks.resume()
        else:
            self._ticks.pause()
            self.show_status()

    def show_jump(self) -> None:
        """See ReplayHost."""
        self._ticked_at = time.monotonic()
        self._keep_time()
        self.refresh_place()
        self.query_one(ReplayTranscript).follow()

    @on(Scrubber.Sought)
    def _sought(self, event: Scrubber.Sought) -> None:
        self._player.go_to(event.position)
        self.show_jump()

    # ----------------------------------------------------------------------- actions

    async def action_do(self, action_id: str, argument: str = "") -> None:
        """Carry out an action, for keys and the palette."""
        rest = REPLAY_HANDLERS[action_id](self, argument)
        if rest is not None:
            await rest

    def offers(self, action: Action) -> bool:
        """True if the palette should offer the action."""
        return action.id in REPLAY_HANDLERS

    @property
    def config(self) -> "Config":
        """See Host."""
        return self.app.config

    @property
    def themes(self) -> BaseApp:
        """See Host."""
        return self.app

    @property
    def focused_help(self) -> str:
        """See Host."""
        return (self.focused.HELP if self.focused is not None else None) or ""

    @property
    def player(self) -> Player:
        """See ReplayHost."""
        return self._player

    def show_dialog(self, dialog: Screen[T], answered: Callable[[T | None], None] | None = None) -> None:
        """See Host."""
        self.app.push_screen(dialog, answered)

    def focus_bar(self) -> None:
        """See ReplayHost."""
        self.query_one(Scrubber).focus()

    async def quit(self) -> None:
        """See Host."""
        await self.app.action_quit()

    # ----------------------------------------------------------------------- messages of its widgets

    def on_turn_chosen(self, event: "TurnChosen") -> None:
        """A turn was selected on the cache map."""
        self.query_one(ReplayTranscript).choose(event.turn)

    def on_markdown_link_clicked(self, event: "Markdown.LinkClicked") -> None:
        """Show where the link leads; a replay opens no links."""
        event.stop()
        self.notify(one_line(event.href, LONGEST_SENTENCE), title="This link leads to", markup=False)
