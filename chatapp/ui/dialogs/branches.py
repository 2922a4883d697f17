"""The branches of a conversation as a list to choose from."""

from collections.abc import Sequence

from chatapp.chat.branch_tree import StoredBranch
from chatapp.presentation.format import age, plural, turns_named
from chatapp.ui.services import Choice

EXCERPT = 100
ENDING = 60


def branch_choices(branches: Sequence[StoredBranch], now_s: float) -> list[Choice]:
    """One for each branch: where and with which message it diverges from the one shown; its length and its age."""
    return [Choice(str(branch.last.id), _title(branch), _note(branch, now_s)) for branch in branches]


def _title(branch: StoredBranch) -> str:
    own = branch.own
    words = _excerpt(own.text, EXCERPT)
    if branch.shown:
        return f"current, up to turn {own.turn}: {words}"
    if branch.shared >= len(branch.messages):
        return f"ends at turn {own.turn}: {words}"
    return f"turn {own.turn}, {'you' if own.role == 'user' else 'reply'}: {words}"


def _note(branch: StoredBranch, now_s: float) -> str:
    turns = sorted({message.turn for message in branch.messages[: branch.shared]})
    parts = [
        plural(branch.last.turn, "turn"),
        f"{turns_named(turns)} shared" if turns and not branch.shown else "",
        "" if branch.last.created_at is None else age(now_s - branch.last.created_at),
        f"ends with: {_excerpt(branch.last.text, ENDING)}" if branch.last is not branch.own else "",
    ]
    return " · ".join(part for part in parts if part)


def _excerpt(text: str, most: int) -> str:
    """The beginning of a text, on one line."""
    words = " ".join(text[: 4 * most].split())
    return (words if len(words) <= most else f"{words[: most - 1]}…") or "(empty)"
