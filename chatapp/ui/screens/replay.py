"""The screen of a replay: transcript, inspector and status as in the chat, and a bar to go to and fro on.

Everything on it comes from the trace. There is no engine that a key could reach and no store: text is text.
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.timer import Timer

from chatapp.errors import UserError
from chatapp.presentation.format import rate
from chatapp.presentation.remark import Remark
from chatapp.presentation.visibility import Standings
from chatapp.replay.lines import OWN
from chatapp.replay.player import Player
from chatapp.replay.transcript_at import Story
from chatapp.text import visible
from chatapp.ui.action_table import BY_ID, Action, bindings
from chatapp.ui.layout import STEP, Layout, fitting
from chatapp.ui.retold import Retold
from chatapp.ui.textual_fixes.compositor import SparingScreen
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
from chatapp.ui.widgets.inspector.side import Side
from chatapp.ui.widgets.scrubber import Scrubber
from chatapp.ui.widgets.status import Status, StatusBar
from chatapp.ui.widgets.transcript.replay_transcript import ReplayTranscript

if TYPE_CHECKING:
    from textual.widgets import Markdown

    from chatapp.protocol.events import Loaded, Snapshot
    from chatapp.ui.replay_app import ReplayApp
    from chatapp.ui.widgets.inspector.cell_grid import TurnChosen

SKIP_S = 5.0
MOST_EVENTS = 2000
"""More events than this between two frames are a jump: the inspector is told what is needed, and not all of them."""
SHARED = (
    *("help", "inspector", "inspect", "zoom", "heat", "physical", "wider", "narrower"),
    *("next_theme", "previous_theme", "quit"),
)
"""Actions of the chat that mean the same here."""


class ReplayScreen(SparingScreen):
    """See the module."""

    BINDINGS = [
        *bindings("replay"),
        *(BY_ID[name].binding() for name in SHARED),
        Binding("q", "quit", "Quit", show=False),
        Binding("escape", "leave", "Back to the bar", show=False),
    ]
    AUTO_FOCUS = "Scrubber"
    app: "ReplayApp"  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed

    def __init__(self, player: Player) -> None:
        super().__init__()
        self._player = player
        self._index = player.timeline.index
        self._story = Story(self._index)
        self._retold = Retold()
        self._shown = 0
        """The position that the inspector shows."""
        self._loaded: Loaded | None = None
        self._snapshot: Snapshot | None = None
        self._told: list[Remark] = [Remark("warning", notice) for notice in self._index.notices]
        """What is told of the file itself, behind everything else."""
        self._layout = Layout()
        """As the person has arranged the inspector in the chat; what is changed here is not kept."""
        self._ticks: Timer | None = None
        self._ticked_at = 0.0

    def compose(self) -> ComposeResult:
        ui = self.app.config.ui
        if self.app.services.layout is not None:
            self._layout, _ = self.app.services.layout.load()
        with Horizontal(id="main"):
            with Vertical(id="chat"):
                yield ReplayTranscript(markdown=ui.markdown, show_stats=ui.show_stats)
            with Side(id="side"):
                yield Inspector(frames_per_second=ui.frames_per_second, layout=self._layout)
        with Container(id="inspector-line"):
            yield InspectorLine()
        yield Scrubber(self._player)
        yield StatusBar()

    def on_mount(self) -> None:
        """Show the place where it begins, and play on from there when asked to."""
        ui = self.app.config.ui
        self.query_one(ReplayTranscript).welcome("Space plays · ← → five seconds\n[ ] turns · e evictions\nF1 help")
        shown = self._layout.shown
        self.set_class(ui.inspector if shown is None else shown, "-inspect")
        self._ticks = self.set_interval(1 / ui.frames_per_second, self._tick, pause=True)
        self.fit_inspector()
        self.refresh_place()

    def on_resize(self) -> None:
        """Another width has other room for the inspector."""
        self.fit_inspector()

    def fit_inspector(self) -> None:
        """Its width, for the screen's width of this moment."""
        self.query_one(Side).fit(self._width, over=self.has_class("-narrow"))

    def on_side_sized(self, event: Side.Sized) -> None:
        """The edge was dragged."""
        event.stop()
        self._layout = replace(self._layout, width=event.width)

    @property
    def _width(self) -> int:
        """The columns that are wanted for the inspector."""
        return self._layout.width or self.app.config.ui.inspector_width

    # ----------------------------------------------------------------------- showing a place

    def refresh_place(self) -> None:
        """Show everything as it was at the player's position."""
        position = self._player.position
        self._show_inspector(position)
        self._story.go_to(position)
        self._show_transcript()
        self.query_one(Scrubber).refresh()
        self._show_status()

    def _show_inspector(self, position: int) -> None:
        """Onward event by event; to anywhere else from the few events that say how it was there."""
        inspector, line = self.query_one(Inspector), self.query_one(InspectorLine)
        if self._shown <= position <= self._shown + MOST_EVENTS:
            entries = range(self._shown, position)
        else:
            entries = self._player.timeline.shown_at(position)
            inspector.start_over()
            line.show_snapshot(None)
            self._loaded = self._snapshot = None
        self._shown = position
        for number in entries:
            try:
                entry = self._index.entry(number)
            except UserError as error:
                self._tell(str(error))
                continue
            if isinstance(entry, OWN):
                continue
            inspector.show(entry)
            line.show(entry)
            match self._index.kind(number):
                case "Loaded":
                    self._loaded, self._snapshot = entry, None  # pyright: ignore[reportAttributeAccessIssue]
                case "Snapshot":
                    self._snapshot = entry  # pyright: ignore[reportAttributeAccessIssue]
                case _:
                    pass

    def _show_transcript(self) -> None:
        transcript = self.query_one(ReplayTranscript)
        changes = self._retold.changes(self._story.items)
        transcript.show_exactly([*changes.pieces, *self._told])
        if changes.growing is not None and (view := transcript.view_of(changes.growing)) is not None:
            view.grow(changes.grown, sparing=False)
        for said in changes.ended:
            if (view := transcript.view_of(said)) is not None:
                view.end()
        if self._snapshot is not None:
            transcript.show_standings(Standings(self._snapshot))

    def _show_status(self) -> None:
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
        """Say what is wrong with the trace, once."""
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
        """The clock runs while it plays."""
        if self._ticks is None:
            return
        if self._player.playing:
            self._ticks.resume()
        else:
            self._ticks.pause()
            self._show_status()

    def _gone(self) -> None:
        """The player was sent elsewhere."""
        self._ticked_at = time.monotonic()
        self._keep_time()
        self.refresh_place()
        self.query_one(ReplayTranscript).follow()

    def _go(self, found: bool, what: str) -> None:
        if found:
            self._gone()
        else:
            self.notify(f"There is no {what}.", timeout=2, markup=False)

    @on(Scrubber.Sought)
    def _sought(self, event: Scrubber.Sought) -> None:
        self._player.go_to(event.position)
        self._gone()

    # ----------------------------------------------------------------------- what a person does

    def offers(self, action: Action) -> bool:
        """True where the palette should offer the action."""
        return action.place == "replay" or action.id in SHARED

    def action_play(self) -> None:
        """Play or pause."""
        self._player.toggle()
        self._gone()

    def action_skip_forward(self) -> None:
        """Five seconds on."""
        self._player.skip(SKIP_S)
        self._gone()

    def action_skip_back(self) -> None:
        """Five seconds back."""
        self._player.skip(-SKIP_S)
        self._gone()

    def action_next_event(self) -> None:
        """One event on."""
        self._player.go_to(self._player.position + 1)
        self._gone()

    def action_previous_event(self) -> None:
        """One event back."""
        self._player.go_to(self._player.position - 1)
        self._gone()

    def action_next_turn(self) -> None:
        """To the beginning of the next turn."""
        self._go(self._player.go_to_next(self._player.timeline.turns), "later turn")

    def action_previous_turn(self) -> None:
        """To the beginning of this turn, or of the one before."""
        self._go(self._player.go_to_previous(self._player.timeline.turns), "earlier turn")

    def action_next_eviction(self) -> None:
        """To the next eviction."""
        self._go(self._player.go_to_next(self._player.timeline.evictions), "later eviction")

    def action_previous_eviction(self) -> None:
        """To the eviction before."""
        self._go(self._player.go_to_previous(self._player.timeline.evictions), "earlier eviction")

    def action_next_mismatch(self) -> None:
        """To the next place where ledger and cache disagree."""
        self._go(self._player.go_to_next(self._player.timeline.mismatches), "later mismatch")

    def action_previous_mismatch(self) -> None:
        """To the one before."""
        self._go(self._player.go_to_previous(self._player.timeline.mismatches), "earlier mismatch")

    def action_faster(self) -> None:
        """Play faster."""
        self._player.change_speed(1)
        self._show_status()

    def action_slower(self) -> None:
        """Play slower."""
        self._player.change_speed(-1)
        self._show_status()

    def action_replay_start(self) -> None:
        """To the beginning."""
        self._player.go_to(0)
        self._gone()

    def action_replay_end(self) -> None:
        """To the end."""
        self._player.go_to(self._player.timeline.end)
        self._gone()

    def action_inspector(self) -> None:
        """Show or hide the inspector: beside the transcript where there is room, over it where there is none."""
        self.minimize()
        self.toggle_class("-inspect" if self.has_class("-wide") else "-overlay")
        self.query_one(Scrubber).focus()

    def action_inspect(self) -> None:
        """Into the inspector, which opens for that; back to the bar from there."""
        inspector = self.query_one(Inspector)
        if inspector.has_focus_within:
            self.action_leave()
        else:
            self.add_class("-inspect" if self.has_class("-wide") else "-overlay")
            inspector.current.title.focus()

    def action_leave(self) -> None:
        """Out of a panel that has the whole screen, else back to the bar."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.remove_class("-overlay")
            self.query_one(Scrubber).focus()

    def action_zoom(self) -> None:
        """Give a panel the whole screen, or its place again."""
        inspector = self.query_one(Inspector)
        inspector.zoom(inspector.current)

    def action_heat(self) -> None:
        """The attention of the newest look on top of the cache map, or no longer."""
        self.query_one(Inspector).action_heat_panel()

    def action_physical(self) -> None:
        """The cells by their numbers, or by the positions of their tokens again."""
        self.query_one(Inspector).action_physical_panel()

    def action_wider(self) -> None:
        """More columns for the inspector."""
        self._widen(STEP)

    def action_narrower(self) -> None:
        """More columns for the transcript."""
        self._widen(-STEP)

    def _widen(self, by: int) -> None:
        columns, over = self.size.width, self.has_class("-narrow")
        now = fitting(self._width, columns, over=over)
        self._layout = replace(self._layout, width=fitting(now + by, columns, over=over))
        self.fit_inspector()

    def action_next_theme(self) -> None:
        """The next theme."""
        self.app.step_theme(1)

    def action_previous_theme(self) -> None:
        """The theme before."""
        self.app.step_theme(-1)

    async def action_quit(self) -> None:
        """Leave."""
        await self.app.action_quit()

    def action_help(self) -> None:
        """F1."""
        from chatapp.ui.dialogs.help import REPLAY_PLACES, Help

        about = self.focused.HELP if self.focused is not None else None
        self.app.push_screen(Help(self.app.config.keys, about or "", REPLAY_PLACES))

    # ----------------------------------------------------------------------- what is said on the screen

    def on_turn_chosen(self, event: "TurnChosen") -> None:
        """A turn was chosen in the picture of the cache."""
        self.query_one(ReplayTranscript).choose(event.turn)

    def on_markdown_link_clicked(self, event: "Markdown.LinkClicked") -> None:
        """Say where the link leads; a replay opens nothing."""
        event.stop()
        self.notify(visible(event.href), title="This link leads to", markup=False)
