"""What was typed and queued in a conversation and not sent yet, as it is stored."""

from chatapp.chat.conversation import Conversation


class UnsentText:
    """The stored draft of one conversation. Its methods read and write the store: call them in a thread, one at a time.

    They raise StoreError.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._unbegun: int | None = None
        """The draft of a conversation that is not stored yet."""

    def read(self) -> str:
        """What was not sent when it was open last; "" if there was nothing."""
        conversation = self._conversation
        if conversation.read_only:
            return ""
        if conversation.session is not None:
            return conversation.store.drafts.read(conversation.session.id)
        found = conversation.store.drafts.adopt(conversation.name)
        if found is None:
            return ""
        self._unbegun = found.id
        return found.text

    def write(self, text: str) -> None:
        """Keep this text instead of the last one; "" keeps none."""
        conversation = self._conversation
        if conversation.read_only:
            return
        drafts, session = conversation.store.drafts, conversation.session
        if session is not None:
            drafts.write(session.id, text)
        elif text:
            self._unbegun = drafts.write_unbegun(self._unbegun, conversation.name, text)
            return
        if self._unbegun is not None:
            drafts.discard(self._unbegun)
            self._unbegun = None

    def leave(self) -> None:
        """Another conversation is shown: what is stored is for whoever opens this one next."""
        if self._unbegun is not None:
            self._conversation.store.drafts.leave(self._unbegun)
