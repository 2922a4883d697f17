"""Sets a context's numbers of threads while it decodes, apart for tokens of a reply and for chunks of a prompt."""

from collections.abc import Callable

from chatapp.engine.thread_choice import CHUNKS, ThreadChoice
from chatapp.processors import Idle, Processors
from chatapp.protocol.values import Threads


class ThreadTuner:
    """`engine.threads: auto`. It is told of each decode, and calls `apply(decode, prefill)` where a number changes."""

    def __init__(
        self,
        processors: Processors,
        full_chunk: int,
        apply: Callable[[int, int], None],
        idle: Callable[[], float | None] | None = None,
    ) -> None:
        """Chunks of `full_chunk` tokens are compared with each other; shorter ones take more time for each token."""
        self._processors = processors
        self._full_chunk = full_chunk
        self._apply = apply
        self._idle = idle or Idle().now
        self._reply = ThreadChoice(processors.most, processors.fast)
        self._prompt = ThreadChoice(processors.most, processors.fast, CHUNKS)
        apply(self._reply.n, self._prompt.n)

    def took(self, n_tokens: int, seconds: float) -> None:
        """A decode of so many tokens took so long."""
        before = (self._reply.n, self._prompt.n)
        if n_tokens == 1:
            self._reply.took(seconds, self._idle())
        elif n_tokens == self._full_chunk:
            self._prompt.took(seconds, self._idle())
        now = (self._reply.n, self._prompt.n)
        if now != before:
            self._apply(*now)

    @property
    def threads(self) -> Threads:
        """The numbers that were the fastest so far."""
        reply, most = self._reply.settled, self._processors.most
        if most == 1:
            why = "one usable processor"
        elif reply == most:
            why = "all usable processors"
        else:
            why = f"faster than {min(most, reply + 1)}"
        return Threads(decode=reply, prefill=self._prompt.settled, most=most, why=why)


def fixed(n: int) -> Threads:
    """As many as `engine.threads` says."""
    return Threads(decode=n, prefill=n, most=n, why="from settings")
