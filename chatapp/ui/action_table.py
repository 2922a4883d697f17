"""Everything a person can do: the one registry behind keys, palette, slash commands, F1 help and tests.

An action's `id` names its binding (so `keys:` in the config can give it other keys) and what carries it out: a function
in `actions/handlers.py` for what is done on a screen, a method of the widget for what only the focused prompt,
transcript or inspector does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from chatapp.errors import UserError
from chatapp.presentation.format import nearest

SCREENS = ("screen", "replay")
"""The places whose actions have a handler; the actions of other places are methods of a widget."""


@dataclass(frozen=True)
class Action:
    """One action.

    `keys` are Textual key names separated by commas; `slash` the names of its slash command; the first is shown.
    `place` says where its keys apply: on the whole screen, in a replay, or in the prompt, the transcript or the
    inspector while it has the focus.
    """

    id: str
    title: str
    help: str
    keys: str = ""
    slash: tuple[str, ...] = ()
    argument: str = ""
    """The argument of the slash command, as shown in help; empty if it takes none."""
    place: str = "screen"
    in_palette: bool = True
    priority: bool = False
    """Takes precedence over what the focused widget would do with the key."""

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
        "Start a new line in the message.",
        "shift+enter,alt+enter,ctrl+j",
        place="prompt",
        in_palette=False,
    ),
    Action(
        "complete", "Complete", "Complete the slash command.", "tab", place="prompt", in_palette=False
    ),
    Action("close_list", "Close the list", "Close the list of slash commands.", "escape", place="prompt",
           in_palette=False),
    Action("stop", "Stop the reply", "Stop the reply and keep what there is. Queued messages return to the prompt.",
           "escape"),
    Action(
        "regenerate",
        "Regenerate the reply",
        "Generate another reply to the last message; the old one stays stored.",
        "ctrl+r",
        ("regenerate", "retry"),
    ),
    Action(
        "undo",
        "Undo the last turn",
        "Remove the last message and its reply from the conversation; the message returns to the prompt.",
        "ctrl+t",
        ("undo",),
    ),
    Action(
        "new",
        "New conversation",
        "Start a new conversation; this one stays stored.",
        "ctrl+n,ctrl+l",
        ("new", "clear"),
    ),
    Action("resume", "Resume a conversation", "Search the stored conversations and open one.", "f4", ("resume",)),
    Action("rename", "Rename the conversation", "Give this conversation a name.", "", ("rename",), "NAME"),
    Action("copy", "Copy the reply", "Copy the selected message, or the last reply.", "ctrl+g", ("copy",)),
    Action("copy_or_stop", "Copy or stop", "Copy the selected text; without any, stop the reply; without one, say"
           " how to quit.", "ctrl+c,super+c", priority=True),
    Action(
        "copy_code", "Copy the code block", "Copy the last code block of the selected message or the last reply.", "",
        ("code",),
    ),
    Action("thoughts", "Fold or unfold the thoughts", "Fold or unfold what the model thought before the selected"
           " reply, or before the last one that has thoughts.", "", ("thoughts",)),
    Action("answer", "Answer now", "End the model's thoughts, so that its answer begins.", "", ("answer",)),
    Action(
        "choose", "Select a message", "Go to the transcript: Up and Down select a message, single keys act on it.", "f8"
    ),
    Action(
        "pin",
        "Pin the turn",
        "Pin the selected (or last) turn, so that it is never evicted.",
        "",
        ("pin",),
        "TURN",
    ),
    Action("unpin", "Unpin the turn", "Unpin the selected (or last) turn, so that it may be evicted.", "", ("unpin",),
           "TURN"),
    Action(
        "recall",
        "Recall evicted turns",
        "Search the evicted turns and bring some back into the window; /recall 12 brings back turn 12.",
        "f7",
        ("recall",),
        "WORDS",
        priority=True,
    ),
    Action(
        "edit",
        "Edit a message",
        "Edit the selected (or last) message; what follows it is kept on the old branch.",
        "",
        ("edit",),
        "TURN",
    ),
    Action("branch", "Branch off here", "Continue from here as a new branch; the old branch is kept.",
           "", ("branch",), "TURN"),
    Action("branches", "Branches", "List the branches of this conversation and switch to one.", "f6", ("branches",),
           priority=True),
    Action("next_alternative", "Next alternative", "Show the next alternative of a message.", "",
           ("alternative",), "next|previous"),
    Action("previous_alternative", "Previous alternative", "Show the previous alternative of a message."),
    Action("model", "Change the model", "Choose another model; the conversation is kept.", "ctrl+o", ("model",),
           "MODEL"),
    Action(
        "restart",
        "Restart the engine",
        "Restart the engine and rebuild the cache from the conversation.",
        "f5",
        ("restart",),
    ),
    Action("inspector", "Show or hide the inspector", "Show the KV cache beside the chat.", "f2", ("inspector",)),
    Action("inspect", "Go to the inspector", "Go to the inspector, where single keys act on a panel; Esc returns to the"
           " prompt.", "f9", priority=True),
    Action("zoom", "Zoom a panel", "Expand a panel of the inspector to the whole screen, or restore it.", "shift+f2",
           ("zoom",), "PANEL", priority=True),
    Action("fold", "Fold or unfold panels", "Fold or unfold a panel of the inspector, or all of them.", "", ("fold",),
           "PANEL"),
    Action("explain", "Explain a panel", "Explain what a panel shows and how it is measured.", "", ("explain",),
           "PANEL"),
    Action("wider", "Widen the inspector", "Make the inspector wider.", "alt+left", ("wider",)),
    Action("narrower", "Narrow the inspector", "Make the inspector narrower.", "alt+right", ("narrower",)),
    Action("ledger", "Show the ledger log", "Show the ledger log on the whole screen, all of it or only one kind, such"
           " as evict; export FILE writes it to a file.", "", ("ledger",), "KIND|export FILE"),
    Action("prompt", "Show the text of the window", "Show the very text that the model has in its window, turn by"
           " turn, with its markup and special tokens.", "", ("prompt",)),
    Action("compare", "Compare two policies", "Compare two policies or windows on a text, or on this conversation:"
           " perplexity, memory, speed, and where they diverge.", "", ("compare",), "A B FILE"),
    Action("reset_layout", "Reset the layout", "Reset the inspector's layout to that of the config.", "",
           ("layout",)),
    Action("heat", "Heat on the cache map", "Show or hide the last sampled token's attention on the cache map.",
           "f12", ("heat",)),
    Action("physical", "Cache map by cell", "Show the cache map by cell, as llama.cpp stores them, or by position.", "",
           ("physical",)),
    Action("look", "Probe the next token", "Read where the attention of the next reply token goes.", "", ("look",)),
    Action("theme", "Choose a theme", "Choose a colour theme.", "", ("theme",), "NAME"),
    Action("next_theme", "Next theme", "Switch to the next theme.", "f3"),
    Action("previous_theme", "Previous theme", "Switch to the previous theme.", "shift+f3"),
    Action("help", "Help", "Show all keys and commands.", "f1", ("help",)),
    Action("quit", "Quit", "Quit swachat; the conversation is stored.", "ctrl+q", ("quit", "exit"), priority=True),
    Action("page_up", "Scroll up", "Scroll the conversation up one page.", "pageup", place="prompt", in_palette=False),
    Action(
        "page_down", "Scroll down", "Scroll the conversation down one page.", "pagedown", place="prompt",
        in_palette=False,
    ),
    Action("top", "Go to the beginning", "Scroll to the oldest message.", "ctrl+home"),
    Action("bottom", "Go to the end", "Scroll to the end and follow the reply.", "ctrl+end"),
    Action("older", "Older messages", "Show older messages.", "", ("older",)),
    Action("choose_previous", "Previous message", "Select the previous message.", "up,k", place="transcript",
           in_palette=False),
    Action("choose_next", "Next message", "Select the next message.", "down,j", place="transcript", in_palette=False),
    Action("copy_chosen", "Copy message", "Copy the selected message.", "c,y", place="transcript", in_palette=False),
    Action("copy_chosen_code", "Copy code", "Copy the last code block of the selected message.", "b",
           place="transcript", in_palette=False),
    Action("pin_chosen", "Pin or unpin", "Pin or unpin the turn of the selected message.", "p",
           place="transcript", in_palette=False),
    Action("recall_chosen", "Recall", "Bring the turn of the selected message back into the window.", "r",
           place="transcript", in_palette=False),
    Action("edit_chosen", "Edit", "Edit the message of the selected turn.", "e", place="transcript",
           in_palette=False),
    Action("branch_chosen", "Branch off", "Continue from here as a new branch.", "g", place="transcript",
           in_palette=False),
    Action("alternative_before", "Previous alternative", "Show the previous alternative of the selected message.",
           "left_square_bracket", place="transcript", in_palette=False),
    Action("alternative_after", "Next alternative", "Show the next alternative of the selected message.",
           "right_square_bracket", place="transcript", in_palette=False),
    Action("next_panel", "Next panel", "Go to the panel below.", "j,down", place="inspector", in_palette=False),
    Action("previous_panel", "Previous panel", "Go to the panel above.", "k,up", place="inspector", in_palette=False),
    Action("toggle_panel", "Fold or unfold", "Fold or unfold the panel.", "enter,space", place="inspector",
           in_palette=False),
    Action("fold_panels", "Fold all", "Fold all panels, or unfold them.", "a", place="inspector", in_palette=False),
    Action("zoom_panel", "Zoom", "Expand the panel to the whole screen, or restore it.", "z", place="inspector",
           in_palette=False),
    Action("heat_panel", "Heat", "Show or hide where the last sampled token's attention fell.", "h",
           place="inspector", in_palette=False),
    Action("physical_panel", "By cell", "Show the cache map by cell, or by position.", "c",
           place="inspector", in_palette=False),
    Action("filter_ledger", "Filter the ledger log",
           "Show only one kind of line in the ledger log: each press the next kind, then all.", "f", place="inspector",
           in_palette=False),
    Action("explain_panel", "Explain", "Explain what the panel shows and how it is measured.", "question_mark",
           place="inspector", in_palette=False),
    Action("back", "Back to the prompt", "Return to the prompt.", "escape,enter,i", place="transcript",
           in_palette=False),
    Action("play", "Play or pause", "Play the trace, or pause.", "space", place="replay"),
    Action("skip_forward", "Five seconds forward", "Skip five seconds forward.", "right", place="replay"),
    Action("skip_back", "Five seconds back", "Skip five seconds back.", "left", place="replay"),
    Action("next_event", "Next event", "Go to the next event.", "full_stop", place="replay"),
    Action("previous_event", "Previous event", "Go to the previous event.", "comma", place="replay"),
    Action("next_turn", "Next turn", "Go to the beginning of the next turn.", "right_square_bracket", place="replay"),
    Action("previous_turn", "Previous turn", "Go to the beginning of this turn, or of the previous one.",
           "left_square_bracket", place="replay"),
    Action("next_eviction", "Next eviction", "Go to where the next turn is evicted.", "e", place="replay"),
    Action("previous_eviction", "Previous eviction", "Go to the previous eviction.", "E", place="replay"),
    Action("next_mismatch", "Next mismatch", "Go to where the ledger and llama.cpp next disagree.", "m",
           place="replay"),
    Action("previous_mismatch", "Previous mismatch", "Go to the previous mismatch.", "M", place="replay"),
    Action("faster", "Faster", "Double the speed.", "plus,equals_sign", place="replay"),
    Action("slower", "Slower", "Halve the speed.", "minus", place="replay"),
    Action("replay_start", "Go to the start", "Go to the start of the trace.", "home", place="replay"),
    Action("replay_end", "Go to the end", "Go to the end of the trace.", "end", place="replay"),
    Action("replay_bar", "Back to the bar", "Restore a zoomed panel, or return to the bar.", "escape", place="replay"),
)  # fmt: skip

BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}
BY_SLASH: Mapping[str, Action] = {name: action for action in ACTIONS for name in action.slash}

_SLASH = re.compile(r"/([A-Za-z][A-Za-z_-]*)(?:[ \t]+(\S.*?))?\s*")


def do(action_id: str, argument: str = "") -> str:
    """The Textual action that carries this one out, for a binding or a screen's `run_action`: `do('undo')`."""
    arguments = (BY_ID[action_id].id, argument) if argument else (BY_ID[action_id].id,)
    return f"do({', '.join(map(repr, arguments))})"


def bindings(place: str) -> list[BindingType]:
    """The bindings of all actions of one place."""
    return [action.binding() for action in ACTIONS if action.place == place]


def parse_slash(text: str) -> tuple[Action, str] | None:
    """The action and its argument if `text` is a slash command, None if it is a message.

    A command is one line that starts with a slash and a word: `/usr/bin` and `/ what` are messages, and `//word` is the
    message `/word` (see `unslash`). Raises UserError, which names the nearest command, if there is no such command.
    """
    match = _SLASH.fullmatch(text)
    if match is None:
        return None
    name, argument = match[1].lower(), match[2] or ""
    action = BY_SLASH.get(name)
    if action is None:
        hint = nearest(f"/{name}", (f"/{known}" for known in BY_SLASH), "/help lists the commands.")
        raise UserError(f"There is no command /{name}.", f"{hint} Type // to send a message that starts with /.")
    if argument and not action.argument:
        raise UserError(f"/{name} takes no argument.", "Type // to send a message that starts with /.")
    return action, argument


def unslash(text: str) -> str:
    """The message that is meant: `//word` is `/word`."""
    return text[1:] if re.match(r"//[A-Za-z]", text) else text


def completions(text: str) -> list[Action]:
    """The actions whose slash command begins with `text`; none if `text` is not the beginning of a command."""
    if not re.fullmatch(r"/[A-Za-z_-]*", text):
        return []
    begun = text[1:].lower()
    return [action for action in ACTIONS if any(name.startswith(begun) for name in action.slash)]


def key_problems(keys: Mapping[str, str]) -> list[str]:
    """What is wrong with the config's `keys`: names of no action, each with the nearest name."""
    return [
        f"keys: there is no action {name}. {nearest(name, BY_ID, 'F1 lists the ids.')}"
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
