"""How long the interface took for a turn."""

from chatapp.protocol.events import TurnStarted
from chatapp.ui.cpu_time import TurnCpuTime
from tests.support.presentation.inspector_events import NOON_S, done


def test_a_turns_time_runs_from_its_beginning_to_its_end() -> None:
    """A turn that was under way before anybody looked has none."""
    clock = iter([10.0, 10.25])
    drawing = TurnCpuTime(lambda: next(clock))
    end = done(7, reply=1, reused=0, at_s=NOON_S, decode_tok_s=None)
    assert drawing.take(end) is None
    assert drawing.take(TurnStarted(at_s=NOON_S, turn=8, prompt_tokens=1, reused_tokens=0)) is None
    assert drawing.take(end) == 250.0
    assert drawing.take(end) is None
