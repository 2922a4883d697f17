"""The table of actions has a handler for each, and a handler needs no more of a screen than its host interface says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.binding import Binding

from chatapp.errors import UserError
from chatapp.protocol.commands import Regenerate, Send, Undo
from chatapp.store import Store
from chatapp.ui.action_table import ACTIONS, BY_ID, BY_SLASH, do
from chatapp.ui.actions.handlers import AVAILABLE, HANDLERS, REPLAY_HANDLERS, available
from chatapp.ui.dialogs.chooser import Chooser
from chatapp.ui.screens.chat import ChatScreen
from chatapp.ui.screens.replay import ReplayScreen
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.choosing import FOR_CHOSEN
from chatapp.ui.widgets.transcript.transcript import Transcript
from tests.support.ui.action_host import ActionHost

WIDGETS = {"prompt": Prompt, "transcript": Transcript, "inspector": Inspector}
"""The places whose actions are methods of a widget, by Textual's own way from a binding to its method."""


def ids(place: str) -> set[str]:
    """The ids of the actions of a place."""
    return {action.id for action in ACTIONS if action.place == place}


# --------------------------------------------------------------------------- the table


def test_every_action_of_the_chat_has_a_handler_and_every_handler_an_action() -> None:
    assert set(HANDLERS) == ids("screen")


def test_every_action_of_a_replay_has_a_handler_and_every_handler_an_action() -> None:
    """A replay has its own actions and some of the chat's."""
    assert ids("replay") <= set(REPLAY_HANDLERS)
    assert set(REPLAY_HANDLERS) - ids("replay") < ids("screen")


@pytest.mark.parametrize("place", WIDGETS)
def test_every_action_of_a_widget_is_a_method_of_it(place: str) -> None:
    assert {f"action_{name}" for name in ids(place)} <= set(dir(WIDGETS[place]))


def test_every_action_is_in_one_of_these_places() -> None:
    assert {action.place for action in ACTIONS} == {"screen", "replay", *WIDGETS}
    assert ids("transcript") >= FOR_CHOSEN


def test_no_action_is_done_by_a_handler_and_by_a_method_too() -> None:
    """Of two ways to do a thing one is forgotten at the next change."""
    for screen, handlers in ((ChatScreen, HANDLERS), (ReplayScreen, REPLAY_HANDLERS)):
        assert not {f"action_{name}" for name in handlers} & set(vars(screen))


def test_keys_palette_and_slash_commands_come_to_the_handlers() -> None:
    """A binding keeps the action's id, so that `keys:` of the config can change its keys."""
    for screen, handlers in ((ChatScreen, HANDLERS), (ReplayScreen, REPLAY_HANDLERS)):
        bound = {
            binding.id: binding.action for binding in screen.BINDINGS if isinstance(binding, Binding) and binding.id
        }
        assert bound == {name: do(name) for name in handlers}
    assert {action.id for action in BY_SLASH.values()} <= set(HANDLERS)
    assert {action.id for action in ACTIONS if action.in_palette} == set(HANDLERS) | set(REPLAY_HANDLERS)


def test_what_is_said_of_when_an_action_can_be_done_is_said_of_a_handler() -> None:
    assert set(AVAILABLE) < set(HANDLERS)


def test_an_argument_is_text_whatever_is_in_it() -> None:
    assert do("recall", 'it\'s "here"') == "do('recall', 'it\\'s \"here\"')"
    with pytest.raises(KeyError):
        do("no such action")


# --------------------------------------------------------------------------- handlers without a screen


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ActionHost]:
    with Store.open(tmp_path / "swachat.db") as store:
        yield ActionHost(store)


def test_what_needs_a_chat_does_nothing_before_there_is_one(host: ActionHost) -> None:
    for name in ("regenerate", "undo", "new", "resume", "rename", "pin", "recall", "edit", "branch", "restart"):
        HANDLERS[name](host, "")
    assert (host.notices, host.dialogs, host.posted) == ([], [], [])


def test_undo_gives_the_message_back(host: ActionHost) -> None:
    host.begin_chat("whales", "They sing.")
    HANDLERS["undo"](host, "")
    assert host.given_back == ["whales"]
    assert host.posted == [Undo(turn=1)]


def test_regenerate_asks_for_the_last_turn(host: ActionHost) -> None:
    host.begin_chat("whales", "They sing.", "rivers", "They run.")
    HANDLERS["regenerate"](host, "")
    assert [(type(command), command.turn) for command in host.posted if isinstance(command, Regenerate | Send)] == [
        (Regenerate, 2)
    ]


def test_an_action_can_be_done_when_there_is_something_to_do_it_to(host: ActionHost) -> None:
    assert available(host, "help")
    assert not available(host, "undo")
    host.begin_chat("whales", "They sing.")
    assert available(host, "undo")
    assert not available(host, "unpin")
    assert not available(host, "play"), "there is nothing to play in a chat"


def test_the_chosen_message_is_copied_without_what_a_terminal_would_obey(host: ActionHost) -> None:
    chat = host.begin_chat("whales", "They \x1b[31msing.", "rivers", "They run.")
    HANDLERS["copy"](host, "")
    host.chosen = chat.conversation.messages[1]
    HANDLERS["copy"](host, "")
    assert host.copied == ["They run.", "They ␛[31msing."]


def test_a_turn_is_named_by_its_number_or_refused(host: ActionHost) -> None:
    host.begin_chat("whales", "They sing.")
    with pytest.raises(UserError, match=r"x is not a turn number\. Give a number: /pin 3\."):
        HANDLERS["pin"](host, "x")
    HANDLERS["edit"](host, "7")
    assert host.notices == [("info", "There is no turn 7. The turns are 1 to 1.")]


def test_a_name_behind_a_command_is_a_choice_and_without_one_there_is_a_list(host: ActionHost) -> None:
    """For a model and a theme alike; a name that is no theme's is told, with the nearest one."""
    HANDLERS["model"](host, "gemma")
    assert host.asked_models == ["gemma"]
    HANDLERS["theme"](host, "dune")
    assert host.themes.theme_name == "dune"
    HANDLERS["theme"](host, "fjrod")
    assert host.notices == [("warning", "There is no theme fjrod. Did you mean fjord?")]
    assert host.dialogs == []
    HANDLERS["model"](host, "")
    HANDLERS["theme"](host, "")
    assert [type(dialog) for dialog in host.dialogs] == [Chooser, Chooser]


def test_every_action_has_words_for_palette_and_help() -> None:
    for action in BY_ID.values():
        assert action.title
        assert action.help
