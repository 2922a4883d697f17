"""Why no message can be taken, in words: those of every engine, the scripted one too."""

from chatapp.errors import SwachatError, UserError

STOPPED_OPENING = "The cache is empty: the conversation is processed before your next message."


def nothing_open() -> UserError:
    """No conversation was opened on this model."""
    return UserError("No conversation is open.", "Start a new one, or open a stored one.")


def not_open(error: SwachatError) -> SwachatError:
    """What is asked of a conversation whose opening was refused with `error` is refused too."""
    return type(error)(f"The conversation is not open. {error.what}", error.todo)


def system_too_long(tokens: int, n_ctx: int) -> UserError:
    """`tokens` is what a window of `n_ctx` would have to keep for good."""
    return UserError(
        f"The system prompt and the sinks take {tokens} of {n_ctx} tokens.",
        "At least a quarter of the window must stay free: use a larger --ctx, a shorter system prompt or fewer sinks.",
    )


def does_not_fit(why: str) -> UserError:
    """A conversation whose last turn finds no free cell, and nothing may leave for it."""
    return UserError(f"The conversation does not fit: {why}.", "Use a larger --ctx, or another --policy.")
