"""Which family of thinking models a model belongs to, from its template and its vocabulary."""

from collections.abc import Collection

from chatapp.thinking.families import FAMILIES, Family


def family_of(template: str | None, spellings: Collection[str] = ()) -> Family | None:
    """The family whose markers the model writes; None for a model that does not think.

    The text of its own template decides, also where that only removes earlier thoughts. Where there is none, a model
    thinks that has both of a family's markers among its special tokens, whose `spellings` these are.

    >>> found = family_of("{{ message.content.split('</think>')[-1] }}")
    >>> found.name if found else None
    'think'
    >>> family_of("{{ message.content }}") is None
    True
    """
    if template is not None:
        return next((family for family in FAMILIES if _has_signs(family, template)), None)
    return next(
        (
            family
            for family in FAMILIES
            if family.openings[0] in spellings and not set(family.closings).isdisjoint(spellings)
        ),
        None,
    )


def _has_signs(family: Family, template: str) -> bool:
    return any(all(sign in template for sign in group) for group in family.signs)
