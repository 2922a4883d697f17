"""One of the two windows that are compared, as the user writes it: `sinks:512`, `window:2048`, `sinks:512:8`."""

from dataclasses import dataclass
from typing import get_args

from msgspec import structs

from chatapp.config.models import Policy
from chatapp.errors import UserError
from chatapp.protocol.values import CacheRequest

POLICIES: tuple[str, ...] = get_args(Policy)
EXAMPLE = "Write POLICY:WINDOW or POLICY:WINDOW:SINKS, such as sinks:512 or sinks:512:8."


@dataclass(frozen=True)
class ComparedCache:
    """A policy, a window in tokens, and how many first tokens are kept at least; None means as in the settings."""

    policy: str
    n_ctx: int | None
    sinks: int | None

    @classmethod
    def parse(cls, text: str) -> "ComparedCache":
        """What `text` means. Raises UserError where it is invalid."""
        policy, *numbers = text.strip().split(":")
        if policy not in POLICIES:
            raise UserError(f"{text!r} does not name a policy.", f"Policies: {', '.join(POLICIES)}. {EXAMPLE}")
        if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
            raise UserError(f"{text!r} does not name a window.", EXAMPLE)
        values = [*map(int, numbers), None, None]
        if values[0] == 0:
            raise UserError(f"{text!r} has an empty window.", EXAMPLE)
        return cls(policy, values[0], values[1])

    def request(self, settings: CacheRequest) -> CacheRequest:
        """The cache to ask for, with the other settings as given."""
        request = structs.replace(settings, policy=self.policy)
        if self.n_ctx is not None:
            request = structs.replace(request, n_ctx=self.n_ctx)
        return request if self.sinks is None else structs.replace(request, sinks=self.sinks)

    def __str__(self) -> str:
        numbers = (self.n_ctx, self.sinks) if self.n_ctx is not None else ()
        return ":".join([self.policy, *(str(number) for number in numbers if number is not None)])
