"""A whole conversation, turn by turn as the session feeds it to the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.engine.template.chat_template import ChatTemplate, PastReply
from chatapp.protocol.values import Message


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one message in the cache, and their text, special tokens spelled out. Turn 0 is the head: BOS, system
    prompt, and the end of the message that it is folded into.
    """

    turn: int
    role: str
    text: str
    tokens: tuple[int, ...]


def walk(template: ChatTemplate, system: str | None, messages: Sequence[Message]) -> list[Part]:
    """What would be cached after these messages: of each turn the message and its reply, if it has one.

    Behind a last message stands the opening of the reply, behind a last reply its closing, as if another message
    followed.

    Raises ModelError where the template refuses the conversation.
    """
    replies = {message.turn: message for message in messages if message.role == "assistant"}
    asked = [message for message in messages if message.role == "user"]
    parts = [("system", 0, template.preamble(system))]
    for message in asked:
        turn, first = message.turn, message is asked[0]
        reply = replies.get(turn)
        if reply is None:
            after = template.text(parts[-1][2][-1:])
            prompt = template.prompt(system, message.text, first=first, after=after)
            user, head_end, answer = prompt.user, prompt.head_end, prompt.reply_opening
        else:
            past = template.turn(system, message.text, PastReply(reply.text), first=first)
            user, head_end, answer = past.user, past.head_end, past.reply
        parts += [("user", turn, user), ("system", 0, head_end), ("assistant", turn, answer)]
    return [Part(turn, role, template.text(tokens), tokens) for role, turn, tokens in parts if tokens]
