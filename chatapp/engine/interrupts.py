"""Exceptions that end work on the cache early."""


class WindowFullError(Exception):
    """The policy cannot free the cells that are needed; the message says why."""


class CancelledError(Exception):
    """The user cancelled; the message says what is unfinished, where that is not obvious."""
