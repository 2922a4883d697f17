"""When Python collects garbage: at the end of a turn, not in the middle of a reply.

For the interface it is a matter of time. A full collection walks through every object of the process: 60 ms for an
interface with Textual and a page of messages. It comes at any moment, about once in six seconds of a reply, delays a
key press, and takes 1% of a processor that the model could have used.

For the engine it is also a matter of memory: an engine must be as small after days as after minutes. CPython keeps
freed tuples for reuse, up to 2,000 of each length to 20, and before 3.13 it never takes one of length 20 back out
(Objects/tupleobject.c, maybe_freelist_pop). A reply passes through every length on its way into the ledger, so each
turn leaked one, 208 bytes. A full collection empties these lists; Python runs one by itself only when there are a
quarter more objects than at the last one, which hardly ever happens in a conversation that does not grow.
"""

import gc


def settle() -> None:
    """Treat all present objects as permanent: no collection walks through them again until the next call.

    A full collection in an engine with a tiny model took 20 ms before, and takes 0.4 ms after.
    """
    gc.unfreeze()  # objects of an unloaded model
    gc.collect()
    gc.freeze()


def sweep() -> None:
    """Free what has become garbage since `settle`; call it where nobody waits."""
    gc.collect()
