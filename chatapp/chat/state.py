"""The state of a chat: the phase, the channel to the engine, the conversation and its cache.

No widgets in here: a `View` is told what to show.
"""

from collections import deque
from collections.abc import Callable

from chatapp.chat.conversation import Conversation
from chatapp.chat.view import BUSY, Phase, View
from chatapp.presentation.host_reading import HostReading, ReadMemory
from chatapp.presentation.memory_pressure import MemoryWatch
from chatapp.presentation.notice_reducer import NoticeReducer
from chatapp.presentation.notices import Notice
from chatapp.protocol.commands import Command, Open, Save
from chatapp.protocol.events import Loaded, Snapshot
from chatapp.store import SavedCaches


class ChatState:
    """The state of a chat, and the steps that its controllers share."""

    def __init__(self, view: View, conversation: Conversation, *, saved: SavedCaches | None = None) -> None:
        self.view = view
        self.conversation = conversation
        self.phase = Phase.STARTING
        self.done: tuple[int, int] | None = None
        """The progress of the phase: done of total (percent, or tokens); None if unknown."""
        self.loaded: Loaded | None = None
        self.snapshot: Snapshot | None = None
        self.memory = MemoryWatch()
        self.pid: int | None = None
        """The engine's process, once it is running."""
        self.queue: deque[str] = deque()
        self._notices = NoticeReducer()
        self._saved = saved
        self._post: Callable[[Command], None] | None = None
        self._opening = 0
        """Conversations that the engine was told to open and has not answered yet."""
        self._unfilled = False
        """The cache does not hold the conversation: filling it was stopped or failed. The next message fills it."""
        self._refused = False
        """It failed: the engine tries again for a message, but not for a forecast."""

    @property
    def busy(self) -> bool:
        """True while the model works on something that Esc stops."""
        return self.phase in BUSY

    def tell_busy(self) -> bool:
        """True, with a notice, while the model works."""
        if self.busy:
            what = {Phase.RECALLING: "Stop the recall first (Esc).", Phase.STOPPING: "Wait until it has stopped."}
            self.view.show_notice("info", what.get(self.phase, "Stop the reply first (Esc)."))
        return self.busy

    def may_change(self) -> bool:
        """Whether the conversation may be changed now; shows a notice if not."""
        if self.conversation.read_only:
            self.view.show_notice("info", self.conversation.read_only)
            return False
        if self.phase is Phase.IDLE:
            return True
        if self.phase is Phase.STORING:
            self.view.show_notice("info", "Wait until your message is stored, or take it back (Esc).")
        elif not self.tell_busy():
            self.view.show_notice("info", "Wait until the model is ready.")
        return False

    def forget_engine(self) -> None:
        """The engine is gone and will not answer open commands."""
        self._post = None
        self.loaded = self.snapshot = self.pid = None
        self.memory = MemoryWatch()
        self._opening = 0
        self._unfilled = self._refused = False

    def give_queue_back(self) -> None:
        """Return the queued messages to the prompt."""
        if self.queue:
            waiting = "\n".join(self.queue)
            self.queue.clear()
            self.view.show_queue()
            self.view.give_back(waiting)

    def send(self, command: Command) -> None:
        """Send the engine a command."""
        if self._post is not None:
            self._notices.post(command)
            self._post(command)

    def tell(self, notice: Notice) -> None:
        """Show a notice."""
        self.view.show_notice(notice.level, notice.text, key=notice.key)

    def enter(self, phase: Phase, done: tuple[int, int] | None = None) -> None:
        """Enter a phase, with its progress."""
        self.phase, self.done = phase, done
        self.view.show_phase()

    def read_memory(self, read: ReadMemory, at_s: float) -> HostReading | None:
        """Read the host's memory now (`at_s`, Unix time), with a notice if it begins to run out.

        None while the engine is working, as it then reports the memory itself, or if it cannot be read.
        """
        if self.phase is not Phase.IDLE or self.done is not None or self.snapshot is None or self.pid is None:
            return None
        memory = read(self.pid)
        if memory is None:
            return None
        reading = HostReading(at_s, *memory)
        if (notice := self.memory.take(reading)) is not None:
            self.tell(notice)
        return reading

    def fill(self, *, from_disk: bool) -> None:
        """Fill the cache with the conversation. A cache on disk is that of the branch that was shown last."""
        self.enter(Phase.OPENING)
        self._opening += 1
        conversation = self.conversation
        self.send(
            Open(
                system=conversation.system,
                messages=conversation.as_messages(0 if self.loaded is None else self.loaded.n_ctx),
                pinned=conversation.pinned,
                state=self._cache_file() if from_disk else None,
            )
        )

    def filled(self, *, whole: bool, refused: bool = False) -> bool:
        """The engine has answered an Open; True if that was the last one it was sent.

        It may also fill the cache unasked, before the message that follows a stop: nothing waits for that.
        """
        self._unfilled, self._refused = not whole, refused
        if not self._opening:
            return False
        self._opening -= 1
        return self._opening == 0

    def save_cache(self) -> bool:
        """Have the cache written to disk before the end; True if that has begun, until the phase changes."""
        if not self.save():
            return False
        self.enter(Phase.SAVING)
        return True

    def save(self) -> bool:
        """Have the cache written to disk; False if there is nothing to write, or nowhere to write it."""
        file = self._cache_file()
        if file is None or self.phase is not Phase.IDLE or self._unfilled or not self.conversation.messages:
            return False
        if self.conversation.read_only:
            return False
        self.send(Save(path=file))
        return True

    def _cache_file(self) -> str | None:
        session = self.conversation.session
        if self._saved is None or session is None:
            return None
        file = self._saved.path(session.id)
        return None if file is None else str(file)
