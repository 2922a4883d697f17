"""Conversations on disk: one SQLite file (WAL) with sessions, a tree of messages, their settings and a search index.

`Store.open(path)` is the entry point; it returns the frozen rows of `chatapp.store.rows`.
"""

from chatapp.store.caches import SavedCaches
from chatapp.store.locks import HeldError, Holder
from chatapp.store.rows import FinalState, Hit, Place, Role, SessionInfo, State, StoredMessage
from chatapp.store.search import Search
from chatapp.store.store import Store
from chatapp.store.thread import AtOnce, StoreThread, Writer

__all__ = [
    "AtOnce",
    "FinalState",
    "HeldError",
    "Hit",
    "Holder",
    "Place",
    "Role",
    "SavedCaches",
    "Search",
    "SessionInfo",
    "State",
    "Store",
    "StoreThread",
    "StoredMessage",
    "Writer",
]
