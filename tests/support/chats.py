"""Conversations of every kind that templates treat differently."""

from chatapp.protocol.values import Message

Chat = tuple[str | None, list[Message]]


def chat(system: str | None, *texts: str) -> Chat:
    """A conversation: the person's text and the reply to it, in turn."""
    roles = ("user", "assistant")
    return system, [Message(turn=i // 2 + 1, role=roles[i % 2], text=text) for i, text in enumerate(texts)]


CODE = "```python\ndef f(x):\n    return {x: [x], 'y': {{ 7 * 7 }}}  # {% if x %} {# no #}\n```"
CHATS = {
    "one message": chat(None, "Hello"),
    "one message, system prompt": chat("Be brief.", "Hello"),
    "answered": chat(None, "What is the sea?", "Water, and salt."),
    "answered, system prompt": chat("Be brief.", "What is the sea?", "Water, and salt."),
    "two turns": chat(None, "What is the sea?", "Water, and salt.", "And the sky?"),
    "two turns, system prompt": chat("Be brief.", "What is the sea?", "Water, and salt.", "And the sky?"),
    "four turns": chat("You are a sailor.", "Hi", "Hello!", "How deep?", "10 km.", "How wide?", "Very.", "Why?"),
    "four answered": chat(None, "Hi", "Hello!", "How deep?", "10 km.", "How wide?", "Very.", "Why?", "So."),
    "white space": chat("  Be brief. \n", " Hello \n", "  So. \n\n", "\tAnd?  "),
    "white space, answered": chat(None, "Hello\n", " So.", " And? ", "Yes.\n"),
    "empty message": chat(None, "", "Hello.", "So?"),
    "empty reply": chat("Be brief.", "Hello", "", "So?", "", "Well?"),
    "languages": chat("Sei höflich. 🙂", "Größe? 東京 😀", "Привет\u200d é ñ", "עברית ﷽"),
    "code": chat(None, CODE, "x = {{ x }} {% endif %}", "<b>&amp;</b> ' \" \\n [1] (2) ### User:"),
    "long": chat("Be. " * 50, "word " * 300, "answer. " * 300, "more?\n" * 50),
}
