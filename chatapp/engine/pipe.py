"""The engine's side of the pipe: frames in and out."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator

from chatapp.protocol.codec import AnyCommand, AnyEvent, decode_command, encode
from chatapp.protocol.commands import AnswerNow, Cancel, Probe, ShowWindow, Shutdown, Spell

Question = Spell | ShowWindow
"""What is answered between two tokens of a reply."""


class Pipe:
    """Reads commands in a thread, so that Cancel and the end of the pipe are noticed during a decode."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._queue: queue.SimpleQueue[AnyCommand] = queue.SimpleQueue()
        self._n_queued = self._n_taken = self._n_cancelled = self._n_hurried = self._n_pressing = 0
        self.on_cancel: Callable[[], None] = lambda: None
        """Called in the reading thread after a Cancel has taken effect."""
        self._probe_wanted = False
        self._questions: deque[Question] = deque()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(self._source, "rb") as source:
            while len(head := source.read(4)) == 4:
                command = decode_command(source.read(int.from_bytes(head, "little")))
                if isinstance(command, Shutdown):
                    break
                self.take(command)
        os._exit(0)

    def take(self, command: AnyCommand) -> None:
        """A command has come. It is done in its turn, unless it changes what is being done."""
        if isinstance(command, Cancel):
            self._n_cancelled = self._n_queued
            self.on_cancel()
        elif isinstance(command, AnswerNow):
            self._n_hurried = self._n_queued
        elif isinstance(command, Probe):
            self._probe_wanted = True
        else:
            if isinstance(command, Question):
                self._questions.append(command)
            self._n_queued += 1
            if not isinstance(command, Question):
                self._n_pressing = self._n_queued
            self._queue.put(command)

    def next(self) -> AnyCommand:
        """Wait for a command."""
        command = self._queue.get()
        self._n_taken += 1
        return command

    def cancelled(self) -> bool:
        """True where a Cancel came after the command in progress."""
        return self._n_cancelled >= self._n_taken

    def answer_now(self) -> bool:
        """True where an AnswerNow came after the command in progress."""
        return self._n_hurried >= self._n_taken

    def superseded(self) -> bool:
        """True where a command came after the one in progress that does more than to ask what is cached."""
        return self._n_pressing > self._n_taken

    def probe_wanted(self) -> bool:
        """True once after a Probe came."""
        wanted, self._probe_wanted = self._probe_wanted, False
        return wanted

    def questions(self) -> Iterator[Question]:
        """The questions that are not answered yet. They are answered during a reply too, so each is kept here as
        well as in the queue; a worker that takes it from the queue later finds nothing here.
        """
        while self._questions:
            yield self._questions.popleft()

    def emit(self, event: AnyEvent) -> None:
        """Write one event. Ends the process where the pipe is closed."""
        data = memoryview(encode(event))
        try:
            while data:
                data = data[os.write(self._sink, data) :]
        except OSError:
            os._exit(0)
