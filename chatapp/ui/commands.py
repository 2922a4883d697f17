"""Everything a person can do: one registry that keys, palette, slash commands, F1 help and tests are made from.

An action's `id` names its binding (so `keys:` in the config can give it other keys) and its method: the action `undo`
is `action_undo` of the screen, or of the widget that has its place.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from chatapp.errors import UserError


@dataclass(frozen=True)
class Action:
    """One thing to do.

    `keys` are Textual key names with commas between; `slash` the names of its slash command, the first one is shown.
    `place` says whose method does it: the screen's, or that of the prompt or the transcript while it has the focus.
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
        return Binding(
            self.keys or f"unset_{self.id}", self.id, self.title, id=self.id, show=False, priority=self.priority
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
        "choose", "Choose a message", "Go into the transcript: Up and Down choose, c copies, b copies code.", "f8"
    ),
    Action("model", "Change the model", "Choose another model; the conversation stays.", "ctrl+o", ("model",), "MODEL"),
    Action(
        "restart",
        "Restart the engine",
        "Start the engine again and rebuild the cache from the conversation.",
        "f5",
        ("restart",),
    ),
    Action("inspector", "Show or hide the inspector", "Show the KV cache beside the chat.", "f2", ("inspector",)),
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
    Action("back", "Back to the prompt", "Leave the transcript.", "escape,enter,i", place="transcript",
           in_palette=False),
)  # fmt: skip

BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}
BY_SLASH: Mapping[str, Action] = {name: action for action in ACTIONS for name in action.slash}

_SLASH = re.compile(r"/([A-Za-z][A-Za-z_-]*)(?:[ \t]+(\S.*?))?\s*")


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
        near = difflib.get_close_matches(name, BY_SLASH, n=1)
        hint = f"Did you mean /{near[0]}?" if near else "/help lists the commands."
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
    problems: list[str] = []
    for name in keys:
        if name not in BY_ID:
            near = difflib.get_close_matches(name, BY_ID, n=1)
            hint = f"did you mean {near[0]}?" if near else "F1 shows their ids."
            problems.append(f"keys: there is no action {name}; {hint}")
    return problems


def shown_keys(keys: str) -> str:
    """Key names as people write them: `ctrl+r,f5` is "Ctrl+R  F5"."""
    return "  ".join("+".join(_shown(part) for part in key.split("+")) for key in keys.split(",") if key)


def _shown(part: str) -> str:
    names = {"pageup": "PageUp", "pagedown": "PageDown", "escape": "Esc"}
    return names.get(part, part.upper() if len(part) == 1 else part.capitalize())
