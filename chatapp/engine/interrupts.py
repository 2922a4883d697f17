"""Why work on the cache ends before it is done."""


class WindowFullError(Exception):
    """The policy cannot free the cells that are needed; the message says why."""


class CancelledError(Exception):
    """The person asked to stop; the message says what that leaves to be done, where it is not plain."""
