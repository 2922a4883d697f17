"""The branches of a conversation, from the tree of its messages. Pure.

A branch is the path from the first message to one that nothing follows. The one that is shown may end earlier, if the
person went back and has said nothing since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from chatapp.store import StoredMessage


@dataclass(frozen=True)
class StoredBranch:
    """One branch, compared with the one that is shown."""

    messages: tuple[StoredMessage, ...]
    shared: int
    """How many messages it has in common with the branch that is shown, from the first on."""
    shown: bool

    @property
    def own(self) -> StoredMessage:
        """Its first message that is not on the branch shown; if there is none, its last message."""
        return self.messages[min(self.shared, len(self.messages) - 1)]

    @property
    def last(self) -> StoredMessage:
        """Its last message."""
        return self.messages[-1]


def branches(tree: Sequence[StoredMessage], head_id: int | None) -> list[StoredBranch]:
    """All branches: the one that is shown first, then the most recently written."""
    by_id = {message.id: message for message in tree}
    parents = {message.parent_id for message in tree}
    told = {(message.parent_id, message.role) for message in tree if message.text}
    ends = [
        message.id
        for message in tree
        # A reply that was stopped before its first word is not a branch if another reply has text.
        if message.id not in parents and (message.text or (message.parent_id, message.role) not in told)
    ]
    if head_id is not None and head_id not in ends:
        ends.append(head_id)
    here = [] if head_id is None else way_to(by_id, head_id)
    found: list[StoredBranch] = []
    for end in ends:
        way = way_to(by_id, end)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0].id == pair[1].id, zip(way, here, strict=False)))
        found.append(StoredBranch(tuple(way), shared, shown=end == head_id))
    return sorted(found, key=lambda branch: (not branch.shown, -branch.last.id))


def way_to(by_id: Mapping[int, StoredMessage], message_id: int) -> list[StoredMessage]:
    """The messages on the path from the first one to this one."""
    way: list[StoredMessage] = []
    at: int | None = message_id
    while at is not None:
        way.append(by_id[at])
        at = by_id[at].parent_id
    return way[::-1]


def newest_end(tree: Sequence[StoredMessage], message_id: int) -> int:
    """The last message of the most recently written branch through this one."""
    newest = message_id
    inside = {message_id}
    for message in tree:  # a parent comes before its children
        if message.parent_id in inside:
            inside.add(message.id)
            newest = message.id if message.text else newest
    return newest
