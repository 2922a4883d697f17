"""The transcript of a replay, only to read and to copy from."""

from textual.binding import Binding

from chatapp.text import visible
from chatapp.ui.action_table import BY_ID
from chatapp.ui.widgets.transcript.transcript import Transcript


class ReplayTranscript(Transcript, inherit_bindings=False):
    """A transcript without a prompt to type into, and without a cache to pin a turn in."""

    BINDINGS = [
        BY_ID["choose_previous"].binding(),
        BY_ID["choose_next"].binding(),
        BY_ID["copy_chosen"].binding(),
        Binding("pageup", "page_up", "Scroll up", show=False),
        Binding("pagedown", "page_down", "Scroll down", show=False),
    ]
    HELP = (
        "The conversation at this position of the trace. The left edge of a message shows how much of it the model saw"
        " then: a solid bar is in the window, a dashed one is partly evicted, a thin one is evicted. "
        "Up and Down select a message, `c` copies it."
    )

    async def action_copy_chosen(self) -> None:
        """Copy the selected message."""
        if self.chosen is not None:
            self.app.copy_to_clipboard(visible(self.chosen.said.text))  # pyright: ignore[reportUnknownMemberType]
