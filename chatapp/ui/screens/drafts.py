"""Storing what is typed and queued while it is, and bringing it back with its conversation."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import BusyError, SwachatError
from chatapp.ui.actions.host import ChatHost
from chatapp.ui.screens.chat_view import ChatView

if TYPE_CHECKING:
    from chatapp.chat.conversation import Conversation
    from chatapp.chat.unsent import UnsentText

END_TIMEOUT_S = 1.5
"""How long the end of the program waits for a draft that is being written."""


@dataclass(frozen=True)
class _Step:
    """`work` is done in a thread, and returns what to do then on the event loop; `lost` is lost where it fails."""

    work: Callable[[], Callable[[], object]]
    lost: str = ""


class Drafts:
    """The draft of the conversation of a view. All reading and writing is done in threads, one step after the other."""

    def __init__(self, host: ChatHost, view: ChatView) -> None:
        self._host, self._view = host, view
        self._shown: Conversation | None = None
        self._unsent: UnsentText | None = None
        self._stored = ""
        """What the store holds of it."""
        self._steps: deque[_Step] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._told: str | None = None
        """The last error that was shown, so that it is not shown four times a second."""

    def look(self) -> None:
        """Store the draft if it has changed; called a few times a second."""
        if self._unsent is not None and not self._steps and (text := self._text()) != self._stored:
            self._begin(_Step(partial(self._write, self._unsent, text)))

    def follow(self) -> None:
        """Another conversation may be shown: store the draft of the last one, and bring back that of this one."""
        from chatapp.chat.unsent import UnsentText

        chat = self._view.chat
        if chat is None or chat.conversation is self._shown:
            return
        before, last = self._unsent, self._shown
        self._shown, self._unsent = chat.conversation, UnsentText(chat.conversation)
        continued = last is not None and _continued(last, chat.conversation)
        if before is not None and not continued:
            text = self._text()
            self._stored = ""
            chat.queue.clear()
            self._view.show_queue()
            self._view.prompt.prompt.replace_draft("")
            self._begin(_Step(partial(self._write, before, text), lost=text))
            self._begin(_Step(partial(self._leave, before)))
        self._begin(_Step(partial(self._read, self._unsent)))
        if before is not None and continued:
            self._begin(_Step(partial(self._write, before, "")))

    async def finish(self) -> None:
        """Store the draft before the program ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._idle.wait()
                self.look()
                await self._idle.wait()

    def _text(self) -> str:
        """The message that is being stored, the queued ones and the draft, as they would come back into the prompt."""
        chat = self._view.chat
        waiting = () if chat is None else (chat.storing, *chat.queue)
        return "\n".join(filter(None, (*waiting, self._view.prompt.prompt.unsent)))

    # ----------------------------------------------------------------------- steps

    def _begin(self, step: _Step) -> None:
        self._steps.append(step)
        self._idle.clear()
        if len(self._steps) == 1:
            self._run()

    def _run(self) -> None:
        self._host.in_thread(self._steps[0].work, self._done, group="draft", failed=self._failed)

    def _done(self, then: Callable[[], object]) -> None:
        self._told = None
        then()
        self._next()

    def _failed(self, error: SwachatError) -> None:
        lost = self._steps[0].lost
        self._next()
        if lost:
            self._view.give_back(lost)
        if isinstance(error, BusyError) and not lost:
            return  # `look` tries again; a lock that lasts is told of by the thread that stores messages
        if str(error) != self._told:
            self._told = str(error)
            self._host.show_notice("error", f"What you have typed is not stored: {error}")

    def _next(self) -> None:
        self._steps.popleft()
        if self._steps:
            self._run()
        else:
            self._idle.set()

    def _write(self, unsent: "UnsentText", text: str) -> Callable[[], object]:
        unsent.write(text)
        return partial(self._written, unsent, text)

    def _written(self, unsent: "UnsentText", text: str) -> None:
        if unsent is self._unsent:
            self._stored = text

    def _leave(self, unsent: "UnsentText") -> Callable[[], object]:
        unsent.leave()
        return lambda: None

    def _read(self, unsent: "UnsentText") -> Callable[[], object]:
        return partial(self._bring_back, unsent, unsent.read())

    def _bring_back(self, unsent: "UnsentText", text: str) -> None:
        if unsent is not self._unsent:
            return
        self._stored = text
        if text:
            self._view.give_back(text)


def _continued(last: "Conversation", shown: "Conversation") -> bool:
    """What is in the prompt is for the conversation shown now: it could not be sent in the last one."""
    return bool(last.read_only) or (last.session is None and last.name is not None and last.name == shown.name)
