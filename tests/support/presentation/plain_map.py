"""The slow, obvious twin of the map's fast paths: cell by cell, and rule by rule as the table in paint.py has them."""

from collections import Counter

from rich.segment import Segment
from rich.style import Style

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.protocol import attention_bytes
from chatapp.protocol.values import Sight
from chatapp.ui.widgets.inspector.paint import LETTERS, Palette

SPOKEN = (BlockKind.TURN_A, BlockKind.TURN_B, BlockKind.PINNED, BlockKind.RECALLED, BlockKind.PARTIAL)
BARE = (BlockKind.FREE, BlockKind.OUTSIDE, BlockKind.UNSEEN)
SHADES = {
    (BlockKind.TURN_A, False): "█",
    (BlockKind.TURN_A, True): "▓",
    (BlockKind.TURN_B, False): "▒",
    (BlockKind.TURN_B, True): "░",
}
GLYPHS = {BlockKind.FREE: "·", BlockKind.OUTSIDE: "╌", BlockKind.UNSEEN: "╌", BlockKind.ELSEWHERE: "▒"}
EMPTY = (BlockKind.FREE, False)
Look = tuple[BlockKind, bool]


def blocks(line: list[BlockPart], size: int, head: int | None) -> list[Group]:
    """One cell after the other."""
    single = [part.cut(i, 1) for part in line for i in range(part.n)]
    groups: list[Group] = []
    for start in range(0, len(single), size):
        held: list[BlockPart] = []
        owners = [id(part) for part in line for _ in range(part.n)][start : start + size]
        for at, (cell, owner) in enumerate(zip(single[start : start + size], owners, strict=True)):
            if at and owner == owners[at - 1]:
                held[-1] = held[-1]._replace(n=held[-1].n + 1)
            else:
                held.append(cell)
        groups.append(Group(start, tuple(held), head is not None and start <= head < start + size))
    return groups


def main(group: Group) -> BlockPart:
    """The first part of the message with the most cells."""
    messages = Counter[tuple[BlockKind, int | None, str | None]]()
    for part in group.parts:
        messages[part.kind, part.turn, part.role] += part.n
    message = max(messages, key=lambda each: (messages[each], -list(BlockKind).index(each[0])))
    first = next(part for part in group.parts if (part.kind, part.turn, part.role) == message)
    return first._replace(n=messages[message])


def look(part: BlockPart) -> Look:
    """What decides how cells are drawn."""
    return part.kind, part.role == "assistant" and part.kind in SPOKEN


def solid(of: Look, palette: Palette) -> Segment:
    """All one thing."""
    if palette.plain:
        return Segment(SHADES.get(of, LETTERS[of[0]]))
    glyph = GLYPHS.get(of[0], "▓" if of[1] and not palette.blends else "█")
    return Segment(glyph, Style(color=palette.of(of).rich_color))


def over(glyph: str, fore: Look | str, back: Look, palette: Palette) -> Segment:
    """A glyph over what stands behind it."""
    colour = palette.colour(fore) if isinstance(fore, str) else palette.of(fore)
    bgcolor = None if back[0] in BARE else palette.of(back).rich_color
    return Segment(glyph, Style(color=colour.rich_color, bgcolor=bgcolor))


def largest(looks: Counter[Look], leave_out: BlockKind | None = None, only: BlockKind | None = None) -> Look:
    """The look of most cells, the first one of equals."""
    found = [each for each in looks if each[0] is not leave_out and only in (None, each[0])]
    return max(found, key=lambda each: looks[each], default=EMPTY)


def block(group: Group, palette: Palette) -> Segment:
    """One block, without a shortcut."""
    if palette.plain:
        if group.sinks:
            return Segment("s" if group.mixed else "S")
        if group.head:
            return Segment(">")
        return Segment(LETTERS[group.kind].lower()) if group.mixed else solid(look(group.parts[0]), palette)
    looks = Counter[Look]()
    in_order: list[tuple[Look, int]] = []
    for part in group.parts:
        looks[look(part)] += part.n
        if in_order and in_order[-1][0] == look(part):
            in_order[-1] = (look(part), in_order[-1][1] + part.n)
        else:
            in_order.append((look(part), part.n))
    sink = (BlockKind.SINK, False)
    if sink in looks and len(looks) > 1:
        return over("▌", sink, largest(looks, leave_out=BlockKind.SINK), palette)
    if group.head:
        return over("▌", "head", look(main(group)), palette)
    if len(in_order) == 2 and palette.of(in_order[0][0]) != palette.of(in_order[1][0]):
        eighths = min(7, max(1, round(8 * in_order[0][1] / group.n)))
        return over("▏▎▍▌▋▊▉"[eighths - 1], in_order[0][0], in_order[1][0], palette)
    most = largest(looks, only=group.kind)
    if len(looks) == 1 and not group.mixed:
        return solid(most, palette)
    if len(looks) == 1 and palette.blends:
        back = None if most[0] in BARE else palette.of(most).rich_color
        return Segment("│", Style(color=palette.background.rich_color, bgcolor=back))
    return over("▚", most, largest(looks, leave_out=group.kind), palette)


def share(sight: Sight, group: Group) -> float | None:
    """Token by token, where no token has moved since: a byte for several is shared by those that there are."""
    ranks = {pos: rank for rank, pos in enumerate(pos + i for _, pos, n in sight.placed for i in range(n))}
    found: list[float] = []
    for part in group.parts:
        for pos in range(part.pos, part.pos + part.n) if part.pos is not None else ():
            byte = ranks[pos] // sight.heat_tok
            together = min(sight.heat_tok, sight.n_visible - byte * sight.heat_tok)
            found.append(attention_bytes.weight(sight.heat[byte]) / together)
    return sum(found) if found else None
