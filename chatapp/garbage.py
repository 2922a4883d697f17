"""What Python keeps for later, and when it looks for it: at the end of a turn, and not in the middle of a reply.

For the interface it is a matter of time: a full collection walks through every object of the process, 60 ms for an
interface with Textual and a page of messages, and comes at any moment, about once in six seconds of a reply: as a key
that is late, and as a hundredth of a processor that the model could have used.

For the engine it is also one of memory, so that one of days is as small as one of minutes. CPython keeps freed tuples
to use them again, up to 2,000 of each length to 20, and before 3.13 it never takes one of length 20 back out
(Objects/tupleobject.c, maybe_freelist_pop). A reply passes through every length on its way into the ledger, so each
turn left one behind, 208 bytes. A full collection empties these lists; Python makes one by itself only when there are
a quarter more objects than at the last, which a conversation that does not grow hardly ever sees.
"""

import gc


def settle() -> None:
    """What there is now will stay: no collection walks through it again, until the next call.

    A full collection in an engine with a tiny model took 20 ms before, and takes 0.4 ms after.
    """
    gc.unfreeze()  # what belonged to a model that is gone
    gc.collect()
    gc.freeze()


def sweep() -> None:
    """Give back what was kept since; call it where nobody waits."""
    gc.collect()
