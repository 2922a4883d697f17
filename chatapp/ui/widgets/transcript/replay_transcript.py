"""The transcript of a replay: to be read and copied from, and nothing else."""

from textual import events
from textual.binding import Binding

from chatapp.ui.action_table import BY_ID
from chatapp.ui.widgets.transcript.transcript import Transcript


class ReplayTranscript(Transcript, inherit_bindings=False):
    """There is no prompt to type into, and no cache to pin a message in."""

    BINDINGS = [
        BY_ID["choose_previous"].binding(),
        BY_ID["choose_next"].binding(),
        BY_ID["copy_chosen"].binding(),
        Binding("pageup", "page_up", "Scroll up", show=False),
        Binding("pagedown", "page_down", "Scroll down", show=False),
    ]
    HELP = (
        "The conversation as it was at this place of the trace. The left edge of a message shows what the model saw of"
        " it then: a full bar is in the window, a dashed one has lost a part, a thin one has left. "
        "Up and Down choose a message, `c` copies it."
    )

    def on_key(self, event: events.Key) -> None:
        """Keys that mean nothing here go nowhere: in the chat they go to the prompt."""
        event.prevent_default()

    async def action_copy_chosen(self) -> None:
        """Copy the chosen message."""
        if self.chosen is not None:
            self.app.copy_to_clipboard(self.chosen.said.text)  # pyright: ignore[reportUnknownMemberType]
            self.notify("Copied.", timeout=2, markup=False)
