"""The engine's side of the pipe: frames in and out."""

import os
import queue
import threading
from collections import deque
from collections.abc import Iterator

from chatapp.protocol.codec import AnyCommand, AnyEvent, decode_command, encode
from chatapp.protocol.commands import Cancel, Probe, Shutdown, Spell


class Pipe:
    """Frames in and out. A thread reads, so that Cancel and the end of the pipe are seen during a decode."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._queue: queue.SimpleQueue[AnyCommand] = queue.SimpleQueue()
        self._n_queued = self._n_taken = self._n_cancelled = 0
        self._probe_wanted = False
        self._spells: deque[Spell] = deque()

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
        elif isinstance(command, Probe):
            self._probe_wanted = True
        else:
            if isinstance(command, Spell):
                self._spells.append(command)
            self._n_queued += 1
            self._queue.put(command)

    def next(self) -> AnyCommand:
        """Wait for a command."""
        command = self._queue.get()
        self._n_taken += 1
        return command

    def cancelled(self) -> bool:
        """True when Cancel came after the command in hand."""
        return self._n_cancelled >= self._n_taken

    def probe_wanted(self) -> bool:
        """True once for each Probe that came."""
        wanted, self._probe_wanted = self._probe_wanted, False
        return wanted

    def spells(self) -> Iterator[Spell]:
        """Those that came and were not answered yet. A reply need not end for that, so each of them stands here, and in
        the queue for a worker that waits; it finds nothing here when another one was faster.
        """
        while self._spells:
            yield self._spells.popleft()

    def emit(self, event: AnyEvent) -> None:
        """Write one event; where nobody reads any more, end."""
        data = memoryview(encode(event))
        try:
            while data:
                data = data[os.write(self._sink, data) :]
        except OSError:
            os._exit(0)
