"""What is done with the inspector on the main screen, and what it asks of the engine through the screen."""

from chatapp.ui.screens.window import WindowActions


class InspectingActions(WindowActions):
    """A part of ChatActions. No panel knows the screen: a panel posts a message, and its handler stands here."""

    def action_inspector(self) -> None:
        """Show or hide the inspector: beside the chat where there is room, over it where there is none."""
        self.toggle_class("-inspect" if self.has_class("-wide") else "-overlay")
