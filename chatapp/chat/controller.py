"""A chat's controller: the phase, what the person may do now, and what each event of the engine means.

No widgets in here: a `View` is told what to show, so that every path (a reply, a stop, the engine's death in the
middle of a word) can be tested without a screen.
"""

from collections.abc import Callable
from functools import partial

from chatapp.chat.conversation import ChatMessage, Conversation, Dropped
from chatapp.chat.edits import ChatEdits
from chatapp.chat.thought_clock import ThoughtClock
from chatapp.chat.view import Phase, View
from chatapp.errors import StoreError, SwachatError
from chatapp.presentation import notices
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import AnswerNow, Cancel, Command, Forecast, Load, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Calibrating,
    Failed,
    Foreseen,
    Loaded,
    LoadProgress,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    RecallForeseen,
    RolledBack,
    Saved,
    Snapshot,
    Started,
    Text,
    Tokenizing,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.protocol.values import CacheRequest, EngineSettings, Sampling
from chatapp.store import FinalState, SavedCaches, Writer


class Chat(ChatEdits):
    """One conversation on one engine."""

    def __init__(
        self,
        view: View,
        conversation: Conversation,
        *,
        cache: CacheRequest,
        engine: EngineSettings,
        sampling: Sampling,
        saved: SavedCaches | None = None,
        strict_memory: bool = True,
        writer: Writer | None = None,
    ) -> None:
        """`writer` has things stored; None does it at once."""
        super().__init__(view, conversation, saved=saved, writer=writer)
        self.not_stored: Callable[[Callable[[], object]], object] = lambda tell: tell()
        """Called for a message that could not be stored, once it is given back, with what tells the person why."""
        self._cache, self._engine, self._sampling, self._strict = cache, engine, sampling, strict_memory
        self._started = False
        self._path: str | None = None
        self._dropped: ChatMessage | None = None
        """The reply that is being regenerated, until the new one begins."""
        self._thought = ThoughtClock()
        self._forecast = 0
        self._may_restart = True
        """An engine that died is restarted automatically once; a complete reply allows the next time."""

    # ----------------------------------------------------------------------- what the person does

    def submit(self, text: str) -> None:
        """Store the message and send it, or queue it. If it cannot be stored it is given back, with nothing sent."""
        if self.conversation.read_only:
            self.view.give_back(text)
            self.view.show_notice("info", self.conversation.read_only)
        elif self.editing is not None:
            self.send_edit(self.editing, text)
        elif self.phase is Phase.IDLE and not self.queue:
            self.ask(text)
        else:
            self.queue.append(text)
            self.view.show_queue()
            if self.phase is Phase.DOWN:
                self.view.show_notice("warning", "Queued: no model is running. F5 restarts it, Ctrl+O chooses another.")

    def take_back(self) -> str | None:
        """Remove the message that was queued last, and return it."""
        if not self.queue:
            return None
        text = self.queue.pop()
        self.view.show_queue()
        return text

    def stop(self) -> None:
        """Stop the reply, the recall, or the filling of the cache; queued messages return to the person, who has
        stopped for a reason.

        If there is nothing to stop, an edit is cancelled. A measurement of sinks is skipped, and queued messages stay
        queued.
        """
        if self.phase is Phase.MEASURING:
            self.send(Cancel())
            return
        if self.phase is Phase.STORING:
            self.take_back_change()
            return
        if not self.busy and not self.queue:
            self.leave_edit()
        self.give_queue_back()
        if self.phase is Phase.OPENING or (self.busy and self.phase is not Phase.STOPPING):
            self.send(Cancel())
            self.enter(Phase.STOPPING)
        elif self.phase is Phase.IDLE and self.done is not None:  # an undo that rebuilds the cache
            self.send(Cancel())

    def answer_now(self) -> None:
        """End the thought of the growing reply, so that its answer begins."""
        reply = self.conversation.reply
        if reply is not None and reply.thinking:
            self.send(AnswerNow())
        else:
            self.view.show_notice("info", "Nothing is thinking now.")

    def regenerate(self) -> None:
        """Generate another reply to the last message."""
        if self.waits(self.regenerate) or not self.may_change():
            return
        if not self.conversation.messages:
            self.view.show_notice("info", "There is no reply to regenerate.")
            return
        self.leave_edit()
        self.change(self.conversation.drop_reply, self._reply_dropped)

    def undo(self) -> None:
        """Undo the last turn; its message returns to the prompt."""
        if self.waits(self.undo) or not self.may_change():
            return
        self.leave_edit()
        if self.conversation.messages:
            self.change(self.conversation.undo, self._undone)
        else:
            self.view.show_notice("info", "There is no turn to undo.")

    def open(self, conversation: Conversation, then: Callable[[bool], object]) -> None:
        """Switch to another conversation, once all of this one is stored; `then` is told whether that was done.

        It is not, with a notice, while the model works on this one.
        """
        if self.waits(partial(self.open, conversation, then)):
            return
        if self.conversation.unwritten and not self.busy:
            opened = partial(self._open, conversation)
            self.aside(self.conversation.flush, lambda _: then(opened()), lambda _: then(False))
        else:
            then(self._open(conversation))

    def _open(self, conversation: Conversation) -> bool:
        if self.busy or self.phase in (Phase.PINNING, Phase.STORING):
            return self.may_change()
        self.leave_edit()
        self.save()
        self.conversation = conversation
        if self.loaded is not None and self.phase in (Phase.IDLE, Phase.OPENING):
            self.fill(from_disk=True)
        return True

    def forecast(self, draft: str) -> None:
        """Ask what sending `draft` would do; the answer goes to `View.show_forecast`, unless there is a newer draft."""
        self._forecast += 1
        if self.phase is Phase.IDLE and draft.strip() and self.editing is None and not self._refused:
            self.send(Forecast(id=self._forecast, text=draft))
        else:
            self.view.show_forecast("")

    # ----------------------------------------------------------------------- the engine's life

    def use_model(self, path: str) -> None:
        """Load this file, now that it is known."""
        self._path = path
        self._load()

    def attach(self, post: Callable[[Command], None]) -> None:
        """An engine has been told to start; `post` sends it a command."""
        self._end_reply("stopped", "cancelled")
        self.forget_engine()
        self._post = post
        self._started = False
        self.enter(Phase.STARTING)

    def no_model(self, error: SwachatError) -> None:
        """There is no file to load."""
        self._path = None
        self.enter(Phase.DOWN)
        self.view.show_notice("error", f"{error} Ctrl+O chooses another model.")

    def handle_end(self, why: str | None) -> None:
        """The engine has ended. If it died, it is restarted once."""
        ended = None if why is None else self._notices.end(why)
        self.forget_engine()
        self._end_reply("failed", "error", "The engine ended before the reply was complete. Ctrl+R generates it again.")
        self.enter(Phase.DOWN)
        if ended is None:
            return
        if self._may_restart:
            self._may_restart = False
            self.view.show_notice(ended.level, f"{ended.text} Nothing you said was lost. Restarting it.")
            self.view.restart_engine()
        else:
            self.view.show_notice(ended.level, f"{ended.text} F5 restarts it, Ctrl+O chooses another model.")

    def handle(self, event: AnyEvent) -> None:
        """Handle one event of the engine."""
        for notice in self._notices.take(event):
            if not self._told_under_reply(event):
                self.tell(notice)
        if (warning := self.memory.take(event)) is not None:
            self.tell(warning)
        match event:
            case Text():
                self._grow(event)
            case Snapshot():
                self.snapshot = event
                self.view.show_phase()
            case Prefilled():
                # Not while stopping, when it comes too late; while idle it reports the rebuild after an undo.
                if self.phase is not Phase.STOPPING:
                    done = None if event.done == event.total else (event.done, event.total)
                    self.enter(self.phase, done)
            case TurnStarted():
                self._dropped = None
                self.enter(Phase.READING, (0, event.prompt_tokens))
            case TurnDone():
                self._turn_done(event)
            case Foreseen():
                if event.id == self._forecast and self.phase is Phase.IDLE:
                    policy = self.loaded.policy if self.loaded is not None else ""
                    self.view.show_forecast(notices.forecast(event, policy, self.snapshot))
            case Started():
                self._started, self.pid = True, event.pid
                self._load()
            case LoadProgress():
                self.enter(Phase.LOADING, (round(event.fraction * 100), 100))
            case Calibrating():
                self.enter(Phase.MEASURING, (event.done, event.total))
            case Loaded():
                self.loaded = event
                self.fill(from_disk=True)
            case Opened():
                if self.filled(whole=True):
                    self.ready()
            case Saved():
                if self.phase is Phase.SAVING:
                    self.enter(Phase.IDLE)
            case Pinned():
                self.pinned(event)
            case Recalled():
                if self.recalled(event):
                    self.ready()
            case RecallForeseen():  # the screen asks
                self.ready()
            case Tokenizing():
                if self.phase is Phase.READING:
                    self.enter(Phase.TOKENIZING, (0, event.characters))
            case RolledBack():
                if self.phase is Phase.IDLE:
                    self.enter(Phase.IDLE)  # clears the progress, whether done or stopped
            case Failed():
                self._failed(event)
            case _:  # reported above, or the answer to a command that a chat never posts
                pass

    # ----------------------------------------------------------------------- inside

    def _load(self) -> None:
        if self._started and self._path is not None and self.phase is Phase.STARTING:
            self.send(Load(path=self._path, cache=self._cache, engine=self._engine, strict_memory=self._strict))
            self.enter(Phase.LOADING, (0, 100))

    def ask(self, text: str) -> None:
        """See ChatStoring."""
        self.change(partial(self.conversation.ask, text), self._asked, partial(self._not_asked, text), text=text)

    def _asked(self, said: ChatMessage) -> None:
        self._dropped = None
        self.view.show_message(said)
        if self.phase is Phase.IDLE:  # else the engine has ended meanwhile
            self._begin(Send(turn=said.turn, text=said.text, sampling=self._sampling))

    def _not_asked(self, text: str, error: StoreError) -> None:
        self.view.give_back(text)
        if not self._withdrawn:
            self.not_stored(partial(self.tell_unchanged, error))

    def _reply_dropped(self, dropped: Dropped) -> None:
        reply, turn = dropped.reply, self.conversation.turn
        if reply is not None:
            self.view.show_without([reply])
        if reply is not None and reply.answered:
            command = Regenerate(turn=turn, sampling=self._sampling)
        else:
            # The engine keeps no turn without a reply, so it is sent the message again.
            command = Send(turn=turn, text=self.conversation.messages[-1].text, sampling=self._sampling)
        if self.phase is Phase.IDLE:
            self._dropped = reply
        self.tell_engine(partial(self._begin, command, dropped.others))

    def _undone(self, gone: list[ChatMessage]) -> None:
        if gone[-1].answered:
            # Where the cache is not filled yet, it would be opened with the undone turn.
            undo = Undo(turn=gone[-1].turn)
            self.tell_engine(partial(self.fill, from_disk=False) if self._unfilled else partial(self.send, undo))
        self.view.show_without(gone)
        self.view.give_back(gone[0].text)

    def _begin(self, command: Send | Regenerate, others: tuple[int, ...] = ()) -> None:
        self._forecast += 1
        self.view.show_forecast("")
        self.view.show_message(self.conversation.begin_reply(others))
        self.enter(Phase.READING)
        self.send(command)

    def _grow(self, event: Text) -> None:
        if self.conversation.reply is None:
            return
        self._thought.take(event, self.conversation.reply)
        self.conversation.grow(event.text, event.reasoning)
        if self.phase is Phase.READING:
            self.enter(Phase.REPLYING)
        self.view.show_growth(event.text)

    def _told_under_reply(self, event: AnyEvent) -> bool:
        """A warning of the turn of a reply that has thoughts and no answer: the reply itself says so."""
        reply = self.conversation.reply
        return isinstance(event, Warned) and reply is not None and reply.thinking and event.turn == reply.turn

    def _turn_done(self, event: TurnDone) -> None:
        ends: dict[str, FinalState] = {"cancelled": "stopped", "error": "failed"}
        state = ends.get(event.stop_reason, "done")
        said = self.conversation.finish_reply(
            state, event.stats, event.stop_reason, tokens=event.tokens, model=event.model
        )
        if said is None:
            return
        if said.state == "done":
            self._may_restart = True
        self.view.show_end(said)
        if event.stop_reason == "window_full":
            self.view.show_notice("warning", "Ctrl+T undoes the last turn, Ctrl+N starts a new conversation.")
        self.ready()

    def _end_reply(self, state: FinalState, stop_reason: str, why: str = "") -> None:
        said = self.conversation.finish_reply(state, None, stop_reason, why)
        if said is not None:
            self.view.show_end(said)

    def _not_answered(self, end: Callable[[], object]) -> None:
        """If no other reply can be generated, restore the one that was to be replaced; else `end` this one."""
        dropped, self._dropped = self._dropped, None
        if dropped is None or not dropped.answered:
            end()
            self.ready()
            return

        def shown(begun: ChatMessage) -> None:
            self.view.show_without([begun])
            self.view.show_message(dropped)

        def failed(error: StoreError) -> None:
            end()
            self.tell_unchanged(error)
            self.tell_engine(partial(self.fill, from_disk=False))  # it has the reply that is not shown now

        self.change(partial(self.conversation.put_back, dropped), shown, failed)

    def _failed(self, event: Failed) -> None:
        stopped = self.phase is Phase.STOPPING and event.kind == "user"
        self.forget_plans()
        if self._opening:
            if self.filled(whole=False, refused=not stopped):
                self.give_queue_back()
                self.enter(Phase.IDLE)
        elif self.busy:
            why = f"Not answered. {event.what} {event.todo}".strip()
            how: tuple[FinalState, str, str] = ("stopped", "cancelled", "") if stopped else ("failed", "error", why)
            self._not_answered(partial(self._end_reply, *how))
        elif self.phase in (Phase.LOADING, Phase.MEASURING):
            self.enter(Phase.DOWN)
        elif self.phase is Phase.PINNING:
            self.ready()
        elif self.phase is Phase.SAVING:
            self.enter(Phase.IDLE)
