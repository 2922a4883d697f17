"""A text area that handles its keys in the order in which they were pressed.

Textual 8.2.8 runs a widget's binding on the application's queue, while letters go through the widget's own: if a
line comes at once (a fast typist over ssh, a script), Enter would overtake the last words and send half of it. The
bindings with the person's own keys are only in the private `_bindings`. It can be removed when Textual runs a binding
before it takes the next key.
"""

from textual import events
from textual.widgets import TextArea


class OrderedTextArea(TextArea):
    """See the module."""

    async def on_key(self, event: events.Key) -> None:
        """Run the text area's own bindings here."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if self.check_action(binding.action.partition("(")[0], ()):
                event.stop()
                event.prevent_default()
                await self.run_action(binding.action)
                return
