"""Everything a person can do: one registry that keys, palette, slash commands, F1 help and tests are made from.

An action's `id` names its binding (so `keys:` in the config can give it other keys) and what does it: a function in
`actions/handlers.py` for what is done on a screen, a method of the widget for what only the focused prompt, transcript
or inspector does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from chatapp.errors import UserError
from chatapp.presentation.format import nearest

SCREENS = ("screen", "replay")
"""The places whose actions have a handler; those of the others are methods of a widget."""


@dataclass(frozen=True)
class Action:
    """One thing to do.

    `keys` are Textual key names with commas between; `slash` the names of its slash command, the first one is shown.
    `place` says where its keys are heard: on the whole screen, in a replay, or in the prompt, the transcript or the
    inspector while it has the focus.
    """

    id: str
    title: str
    help: str
    keys: str = ""
    slash: tuple[str, ...] = ()
    argument: str = ""
    """What may follow the slash command, as shown in help; empty where nothing may."""
    place: str = "screen"
    in_palette: bool = True
    priority: bool = False
    """Comes before what the focused widget would do with the key itself."""

    def binding(self) -> Binding:
        """The Textual binding. One without keys gets a key that no terminal sends, for `keys:` to replace."""
        called = do(self.id) if self.place in SCREENS else self.id
        return Binding(
            self.keys or f"unset_{self.id}", called, self.title, id=self.id, show=False, priority=self.priority
        )


ACTIONS = (
    Action("send", "Send", "Send the message.", "enter", place="prompt", in_palette=False),
    Action(
        "newline",
        "New line",
        "Begin a new line in the message.",
        "shift+enter,alt+enter,ctrl+j",
        place="prompt",
        in_palette=False,
    ),
    Action(
        "complete", "Complete", "Complete the slash command.", "tab", place="prompt", in_palette=False
    ),
    Action("close_list", "Close the list", "Close the list of slash commands.", "escape", place="prompt",
           in_palette=False),
    Action("stop", "Stop the reply", "Stop the reply; what is there stays. Queued messages come back.", "escape"),
    Action(
        "regenerate",
        "Regenerate the reply",
        "Drop the last reply and make another one; the old one stays stored.",
        "ctrl+r",
        ("regenerate", "retry"),
    ),
    Action(
        "undo",
        "Undo the last turn",
        "Take the last message and its reply out of the conversation; the message comes back into the prompt.",
        "ctrl+t",
        ("undo",),
    ),
    Action(
        "new",
        "New conversation",
        "Begin a new conversation; this one stays stored.",
        "ctrl+n,ctrl+l",
        ("new", "clear"),
    ),
    Action("resume", "Resume a conversation", "Search the stored conversations and open one.", "f4", ("resume",)),
    Action("rename", "Rename the conversation", "Give this conversation a name.", "", ("rename",), "NAME"),
    Action("copy", "Copy the reply", "Copy the chosen message, else the last reply.", "ctrl+g", ("copy",)),
    Action(
        "copy_code", "Copy the code block", "Copy the last code block of the chosen message or reply.", "", ("code",)
    ),
    Action(
        "choose", "Choose a message", "Go into the transcript: Up and Down choose, letters do something with it.", "f8"
    ),
    Action(
        "pin",
        "Pin the turn",
        "Keep the chosen message's turn, else the last one, in the window for good.",
        "",
        ("pin",),
        "TURN",
    ),
    Action("unpin", "Unpin the turn", "Let the chosen message's turn, else the last one, leave again.", "", ("unpin",),
           "TURN"),
    Action(
        "recall",
        "Recall what has left",
        "Search what has left the window, and bring turns of it back; /recall 12 brings turn 12.",
        "f7",
        ("recall",),
        "WORDS",
        priority=True,
    ),
    Action(
        "edit",
        "Edit a message",
        "Say the chosen message's turn, else the last one, in another way; what follows it stays on its branch.",
        "",
        ("edit",),
        "TURN",
    ),
    Action("branch", "Branch off here", "Go on behind the chosen message's turn; what follows it stays on its branch.",
           "", ("branch",), "TURN"),
    Action("branches", "Branches", "List the branches of this conversation, and go to one.", "f6", ("branches",),
           priority=True),
    Action("next_alternative", "Next alternative", "Show the next of several messages in one place.", "",
           ("alternative",), "next|previous"),
    Action("previous_alternative", "Previous alternative", "Show the one before of several messages in one place."),
    Action("model", "Change the model", "Choose another model; the conversation stays.", "ctrl+o", ("model",), "MODEL"),
    Action(
        "restart",
        "Restart the engine",
        "Start the engine again and rebuild the cache from the conversation.",
        "f5",
        ("restart",),
    ),
    Action("inspector", "Show or hide the inspector", "Show the KV cache beside the chat.", "f2", ("inspector",)),
    Action("inspect", "Go into the inspector", "Go into the inspector, where letters do something with a panel; Esc"
           " goes back to the prompt.", "f9", priority=True),
    Action("zoom", "Zoom a panel", "Give a panel of the inspector the whole screen, or its place again.", "shift+f2",
           ("zoom",), "PANEL", priority=True),
    Action("fold", "Fold or unfold panels", "Fold a panel of the inspector, or all, and unfold again.", "", ("fold",),
           "PANEL"),
    Action("explain", "Explain a panel", "Say what a panel shows and how that was measured.", "", ("explain",),
           "PANEL"),
    Action("wider", "Widen the inspector", "Give the inspector more columns.", "alt+left", ("wider",)),
    Action("narrower", "Narrow the inspector", "Give the chat more columns.", "alt+right", ("narrower",)),
    Action("ledger", "Show the ledger log", "Give the ledger log the whole screen, all of it or one kind alone, such as"
           " evict; export FILE writes what is shown.", "", ("ledger",), "KIND|export FILE"),
    Action("compare", "Compare two windows", "Hold two policies or windows against each other on a text, or on this"
           " conversation: perplexity, memory, speed, and where they part.", "", ("compare",), "A B FILE"),
    Action("reset_layout", "Reset the inspector's layout", "Arrange the inspector as the config says.", "",
           ("layout",)),
    Action("heat", "Heat on the cache map", "Show on the cache map what the last token that was looked into attended"
           " to, or no longer.", "f12", ("heat",)),
    Action("physical", "Cache map by cell", "Show the cells where llama.cpp put the tokens, or by position again.", "",
           ("physical",)),
    Action("look", "Look into the next token", "Read what the next token of a reply attends to.", "", ("look",)),
    Action("theme", "Choose a theme", "Choose the colours.", "", ("theme",), "NAME"),
    Action("next_theme", "Next theme", "Take the next theme.", "f3"),
    Action("previous_theme", "Previous theme", "Take the theme before.", "shift+f3"),
    Action("help", "Help", "Show all keys and commands.", "f1", ("help",)),
    Action("quit", "Quit", "Leave swachat; the conversation is stored.", "ctrl+q", ("quit", "exit"), priority=True),
    Action("page_up", "Scroll up", "Scroll the conversation up by a page.", "pageup", place="prompt", in_palette=False),
    Action(
        "page_down", "Scroll down", "Scroll the conversation down by a page.", "pagedown", place="prompt",
        in_palette=False,
    ),
    Action("top", "To the beginning", "Scroll to the oldest message.", "ctrl+home"),
    Action("bottom", "To the end", "Scroll to the end and follow the reply.", "ctrl+end"),
    Action("older", "Older messages", "Show older messages.", "", ("older",)),
    Action("choose_previous", "Previous message", "Choose the message before.", "up,k", place="transcript",
           in_palette=False),
    Action("choose_next", "Next message", "Choose the message after.", "down,j", place="transcript", in_palette=False),
    Action("copy_chosen", "Copy message", "Copy the chosen message.", "c,y", place="transcript", in_palette=False),
    Action("copy_chosen_code", "Copy code", "Copy the chosen message's last code block.", "b", place="transcript",
           in_palette=False),
    Action("pin_chosen", "Pin or unpin", "Keep the chosen message's turn for good, or no longer.", "p",
           place="transcript", in_palette=False),
    Action("recall_chosen", "Recall", "Bring the chosen message's turn back into the window.", "r", place="transcript",
           in_palette=False),
    Action("edit_chosen", "Edit", "Say the message of the chosen turn in another way.", "e", place="transcript",
           in_palette=False),
    Action("branch_chosen", "Branch off", "Go on behind the chosen message's turn.", "g", place="transcript",
           in_palette=False),
    Action("alternative_before", "Previous alternative", "Show the alternative before the chosen message.",
           "left_square_bracket", place="transcript", in_palette=False),
    Action("alternative_after", "Next alternative", "Show the alternative after the chosen message.",
           "right_square_bracket", place="transcript", in_palette=False),
    Action("next_panel", "Next panel", "Go to the panel below.", "j,down", place="inspector", in_palette=False),
    Action("previous_panel", "Previous panel", "Go to the panel above.", "k,up", place="inspector", in_palette=False),
    Action("toggle_panel", "Fold or unfold", "Fold or unfold the panel.", "enter,space", place="inspector",
           in_palette=False),
    Action("fold_panels", "Fold all", "Fold all panels, or unfold them.", "a", place="inspector", in_palette=False),
    Action("zoom_panel", "Zoom", "Give the panel the whole screen, or its place again.", "z", place="inspector",
           in_palette=False),
    Action("heat_panel", "Heat", "Show what the last token that was looked into attended to, or no longer.", "h",
           place="inspector", in_palette=False),
    Action("physical_panel", "By cell", "Show the cells by their numbers, or by position again.", "c",
           place="inspector", in_palette=False),
    Action("filter_ledger", "Filter the ledger log",
           "Show the next kind of the ledger log's lines alone, then all again.", "f", place="inspector",
           in_palette=False),
    Action("explain_panel", "Explain", "Say what the panel shows and how that was measured.", "question_mark",
           place="inspector", in_palette=False),
    Action("back", "Back to the prompt", "Leave the transcript.", "escape,enter,i", place="transcript",
           in_palette=False),
    Action("play", "Play or pause", "Play the trace, or pause.", "space", place="replay"),
    Action("skip_forward", "Five seconds on", "Go five seconds on.", "right", place="replay"),
    Action("skip_back", "Five seconds back", "Go five seconds back.", "left", place="replay"),
    Action("next_event", "Next event", "Go one event on.", "full_stop", place="replay"),
    Action("previous_event", "Previous event", "Go one event back.", "comma", place="replay"),
    Action("next_turn", "Next turn", "Go to the beginning of the next turn.", "right_square_bracket", place="replay"),
    Action("previous_turn", "Previous turn", "Go to the beginning of the turn, or of the one before.",
           "left_square_bracket", place="replay"),
    Action("next_eviction", "Next eviction", "Go to where the next turn leaves the window.", "e", place="replay"),
    Action("previous_eviction", "Previous eviction", "Go to the eviction before.", "E", place="replay"),
    Action("next_mismatch", "Next mismatch", "Go to where ledger and cache disagree.", "m", place="replay"),
    Action("previous_mismatch", "Previous mismatch", "Go to the mismatch before.", "M", place="replay"),
    Action("faster", "Faster", "Play twice as fast.", "plus,equals_sign", place="replay"),
    Action("slower", "Slower", "Play half as fast.", "minus", place="replay"),
    Action("replay_start", "To the start", "Go to the start of the trace.", "home", place="replay"),
    Action("replay_end", "To the end", "Go to the end of the trace.", "end", place="replay"),
)  # fmt: skip

BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}
BY_SLASH: Mapping[str, Action] = {name: action for action in ACTIONS for name in action.slash}

_SLASH = re.compile(r"/([A-Za-z][A-Za-z_-]*)(?:[ \t]+(\S.*?))?\s*")


def do(action_id: str, argument: str = "") -> str:
    """What a binding or `run_action` of a screen is given to have an action done: `do('undo')`."""
    arguments = (BY_ID[action_id].id, argument) if argument else (BY_ID[action_id].id,)
    return f"do({', '.join(map(repr, arguments))})"


def bindings(place: str) -> list[BindingType]:
    """The bindings of all actions of one place."""
    return [action.binding() for action in ACTIONS if action.place == place]


def parse_slash(text: str) -> tuple[Action, str] | None:
    """The action and its argument where `text` is a slash command, None where it is a message.

    A command is one line of a slash and a word: `/usr/bin` and `/ what` are messages, and `//word` is the message
    `/word` (see `unslash`). Raises UserError, with the nearest command, where there is no such one.
    """
    match = _SLASH.fullmatch(text)
    if match is None:
        return None
    name, argument = match[1].lower(), match[2] or ""
    action = BY_SLASH.get(name)
    if action is None:
        hint = nearest(f"/{name}", (f"/{known}" for known in BY_SLASH), "/help lists the commands.")
        raise UserError(f"There is no command /{name}.", f"{hint} A message may begin with // for a slash.")
    if argument and not action.argument:
        raise UserError(f"/{name} takes nothing behind it.", "A message may begin with // for a slash.")
    return action, argument


def unslash(text: str) -> str:
    """A message as it is meant: `//word` is `/word`."""
    return text[1:] if re.match(r"//[A-Za-z]", text) else text


def completions(text: str) -> list[Action]:
    """The actions whose slash command begins with `text`; none where it is no begun command."""
    if not re.fullmatch(r"/[A-Za-z_-]*", text):
        return []
    begun = text[1:].lower()
    return [action for action in ACTIONS if any(name.startswith(begun) for name in action.slash)]


def key_problems(keys: Mapping[str, str]) -> list[str]:
    """What is wrong with the config's `keys`: names that no action has, each with the nearest one."""
    return [
        f"keys: there is no action {name}. {nearest(name, BY_ID, 'F1 shows their ids.')}"
        for name in keys
        if name not in BY_ID
    ]


def shown_keys(keys: str) -> str:
    """Key names as people write them: `ctrl+r,f5` is "Ctrl+R  F5"."""
    named = (key if len(key) == 1 else "+".join(_shown(part) for part in key.split("+")) for key in keys.split(","))
    return "  ".join(key for key in named if key)


def _shown(part: str) -> str:
    names = {
        "pageup": "PageUp",
        "pagedown": "PageDown",
        "escape": "Esc",
        "left_square_bracket": "[",
        "right_square_bracket": "]",
        "question_mark": "?",
        "full_stop": ".",
        "comma": ",",
        "plus": "+",
        "minus": "-",
        "equals_sign": "=",
    }
    return names.get(part, part.upper() if len(part) == 1 else part.capitalize())
