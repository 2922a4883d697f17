"""A reply that ends inside a character of several tokens is shown and stored without it; its tokens stay cached."""

import codecs
from pathlib import Path

from chatapp.protocol.events import Text, TurnDone
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.process import greedy
from tests.support.engine.tiny_session import tiny_session

ASKED = "Repeat exactly: 🦀🦀🦀🦀🦀🦀🦀🦀"


def test_a_reply_of_emoji_is_cut_between_two_of_them(starter: Path) -> None:
    """Whatever the limit of tokens is: an emoji has several of them."""
    halves = 0
    with tiny_session(starter, CacheRequest(n_ctx=512)) as chat:
        for n in range(1, 13):
            chat.open([], None)
            chat.events.clear()
            chat.session.send(1, ASKED, greedy(n))
            reply = "".join(event.text for event in chat.all(Text))
            assert "�" not in reply
            assert sum(event.tokens for event in chat.all(Text)) == chat.last(TurnDone).stats.reply_tokens
            book = chat.session.kv.ledger
            said = [run for run in book.of_turn(1) if run.role == "assistant"][-1]
            data = b"".join(chat.model.piece(token) for token in said.tokens[said.opening :])
            assert reply == codecs.getincrementaldecoder("utf-8")().decode(data)
            halves += len(reply.encode()) < len(data)
            said_twice = [Message(turn=1, role="user", text=ASKED), Message(turn=1, role="assistant", text=reply)]
            assert chat.open(said_twice, None).reused_tokens == book.n_tokens
    assert halves > 0
