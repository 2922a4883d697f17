"""Texts of refused openings."""

from chatapp.errors import SwachatError, UserError

STOPPED_OPENING = "The cache is empty: the conversation is processed before your next message."


def nothing_open() -> UserError:
    """The error where no conversation was opened."""
    return UserError("No conversation is open.", "Start a new one, or open a stored one.")


def not_open(error: SwachatError) -> SwachatError:
    """The error of later commands where the opening was refused with `error`."""
    return type(error)(f"The conversation is not open. {error.what}", error.todo)


def system_too_long(tokens: int, n_ctx: int) -> UserError:
    """`tokens` are those that a window of `n_ctx` could never evict."""
    return UserError(
        f"The system prompt and the sinks take {tokens} of {n_ctx} tokens.",
        "At least a quarter of the window must stay free: use a larger --ctx, a shorter system prompt or fewer sinks.",
    )


def does_not_fit(why: str) -> UserError:
    """The error where the last turn has no cells and nothing can be evicted for it."""
    return UserError(f"The conversation does not fit: {why}.", "Use a larger --ctx, or another --policy.")
