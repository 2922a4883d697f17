"""How long a reply thinks, and in how many tokens, as its text comes."""

from chatapp.chat.conversation import ChatMessage
from chatapp.protocol.events import Text


class ThoughtClock:
    """Counts on the reply itself; of each reply it remembers when its first thought came."""

    def __init__(self) -> None:
        self._of: ChatMessage | None = None
        self._began_s = 0.0

    def take(self, event: Text, reply: ChatMessage) -> None:
        """Count a piece of text before it is added to the `reply`. Once the answer has begun nothing is counted."""
        if reply.text:
            return
        if not event.text:
            reply.thought_tokens += event.tokens
        if event.reasoning and self._of is not reply:
            self._of, self._began_s = reply, event.at_s
        if self._of is reply:
            reply.thought_s = max(0.0, event.at_s - self._began_s)
