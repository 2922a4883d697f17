"""The branches of a conversation as a list to choose from."""

from collections.abc import Sequence

from chatapp.ui.branches import Branch
from chatapp.ui.format import age, plural
from chatapp.ui.services import Choice

EXCERPT = 200


def branch_choices(branches: Sequence[Branch], now_s: float) -> list[Choice]:
    """One for each branch: where it leaves the one that is shown, and with which words; how long it is and how old."""
    return [Choice(str(branch.last.id), _title(branch), _note(branch, now_s)) for branch in branches]


def _title(branch: Branch) -> str:
    own = branch.own
    words = " ".join(own.text[:EXCERPT].split()) or "(no word)"
    if branch.shown:
        return f"shown now, up to turn {own.turn}: {words}"
    if branch.shared >= len(branch.messages):
        return f"ends at turn {own.turn}: {words}"
    return f"turn {own.turn}, {'you' if own.role == 'user' else 'reply'}: {words}"


def _note(branch: Branch, now_s: float) -> str:
    common = f"the first {len({m.turn for m in branch.messages[: branch.shared]})} as here" if branch.shared else ""
    parts = [plural(branch.last.turn, "turn"), "" if branch.shown else common, age(now_s - branch.last.created_at)]
    return " · ".join(part for part in parts if part)
