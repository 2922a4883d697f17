"""What Python keeps for later: given back behind every turn, so that an engine of days is as small as one of minutes.

CPython keeps freed tuples to use them again, up to 2,000 of each length to 20, and before 3.13 it never takes one of
length 20 back out (Objects/tupleobject.c, maybe_freelist_pop). A reply passes through every length on its way into the
ledger, so each turn left one behind, 208 bytes. A full collection empties these lists; Python makes one by itself only
when there are a quarter more objects than at the last, which a conversation that does not grow hardly ever sees.
"""

import gc


def settle() -> None:
    """What there is now will stay: no collection walks through it again, until the next call.

    A full collection in a process with a tiny model took 20 ms before, and takes 0.4 ms after.
    """
    gc.unfreeze()  # what belonged to a model that is gone
    gc.collect()
    gc.freeze()


def sweep() -> None:
    """Give back what was kept since; call it where nobody waits."""
    gc.collect()
