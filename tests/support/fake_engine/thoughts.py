"""A scripted engine whose model thinks: the first word of each reply is a thought, and the others are the answer."""

from collections.abc import AsyncIterator

from msgspec import structs

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Text, TurnDone, TurnStarted
from tests.support.fake_engine.engine import FakeEngine


class ThinkingEngine(FakeEngine):
    """See the module."""

    async def events(self) -> AsyncIterator[AnyEvent]:
        """See Engine.events."""
        thought = True
        async for event in super().events():
            match event:
                case TurnStarted():
                    thought = False
                case Text() if not thought:
                    thought = True
                    event = structs.replace(event, text="", reasoning=event.text)
                case TurnDone():
                    event = structs.replace(event, stats=structs.replace(event.stats, reasoning_tokens=1))
                case _:
                    pass
            yield event
