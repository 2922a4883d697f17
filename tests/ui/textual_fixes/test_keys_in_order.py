"""Keys that come at once are obeyed in their order, letters and bindings alike."""

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import TextArea

from chatapp.ui.textual_fixes.keys_in_order import OrderedTextArea

SEND = [Binding("f9", "send", "Send"), Binding("f8", "never", "Never")]


class Plain(TextArea):
    """As Textual makes it, with a key that takes what is written."""

    BINDINGS = SEND
    sent = ""

    def action_send(self) -> None:
        """Keep it."""
        self.sent = self.text


class Ordered(OrderedTextArea):
    """The same, mended."""

    BINDINGS = SEND
    sent = ""
    denied = 0

    def action_send(self) -> None:
        """Keep it."""
        self.sent = self.text

    def action_never(self) -> None:
        """It is not enabled."""
        self.denied += 1

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """All but one."""
        return action != "never"


class Writing(App[None]):
    """One text area."""

    def __init__(self, area: Plain | Ordered) -> None:
        super().__init__()
        self.area = area

    def compose(self) -> ComposeResult:
        """It."""
        yield self.area


async def sent(area: Plain | Ordered, *keys: str) -> str:
    """What was sent where all these keys come at once."""
    app = Writing(area)
    async with app.run_test() as pilot:
        area.focus()
        await pilot.pause()
        for key in keys:
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        return area.sent


async def test_a_key_acts_on_what_was_written_before_it() -> None:
    """No more, and no less."""
    assert await sent(Ordered(), "a", "b", "f9", "c", "d") == "ab"


async def test_a_key_whose_action_is_off_does_nothing() -> None:
    area = Ordered()
    assert await sent(area, "a", "f8", "f9") == "a"
    assert not area.denied


async def test_textual_alone_still_lets_it_overtake_them() -> None:
    """Once this fails, the fix can be removed."""
    assert await sent(Plain(), "a", "b", "f9", "c", "d") != "ab"
