"""Which functional labels were computed with, and whether two of them may stand side by side.

Barriers of the same hop differ between functionals by as much as models err, so labels of two of
them teach a model neither. A name of a class says less than that of a functional and does not
contradict it: ``PBE`` is a ``GGA``. A Hubbard U makes another functional of either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

NOT_STATED = "not stated"
"""In counts, for labels without a functional."""

_CLASS = {
    **dict.fromkeys(("PBE", "PBESOL", "RPBE", "REVPBE", "PW91", "AM05"), "GGA"),
    **dict.fromkeys(("CA", "PZ", "PW92"), "LDA"),
}
_HUBBARD = re.compile(r"[\s_+-]+U$")


def count_functionals(xc: Sequence[str]) -> dict[str, int]:
    """How many labels are of each functional, the most common first."""
    counts = Counter(one.strip() or NOT_STATED for one in xc)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def agree(one: str, other: str) -> bool:
    """Whether two names can be of the same functional."""
    (first, first_u), (second, second_u) = _parts(one), _parts(other)
    same = first == second or _CLASS.get(first) == second or _CLASS.get(second) == first
    return same and first_u == second_u


def _parts(name: str) -> tuple[str, bool]:
    """The functional in capitals, and whether it has a Hubbard U."""
    plain, has_u = _HUBBARD.subn("", name.strip().upper())
    return re.sub(r"[\s_-]", "", plain), bool(has_u)


def clash(new: Mapping[str, int], old: Mapping[str, int]) -> str | None:
    """Why new labels cannot join old ones; None where they can, as far as it is known.

    The old ones may be mixed already, as labels from literature are: a new functional must agree
    with those of at least half of the old labels whose functional is known.

    Args:
        new: counts of the new labels by functional.
        old: of the labels that a model has learnt from.
    """
    names = [name for name in new if name != NOT_STATED]
    for position, one in enumerate(names):
        if not all(agree(one, other) for other in names[position + 1 :]):
            return f"the new labels are of {in_words(new)}"
    known = {name: n for name, n in old.items() if name != NOT_STATED}
    for one in names:
        if 2 * sum(n for name, n in known.items() if agree(one, name)) < sum(known.values()):
            return f"the new labels are of {in_words(new)}, the model's of {in_words(old)}"
    return None


def in_words(counts: Mapping[str, int]) -> str:
    """Counts as ``PBE (12), not stated (3)``."""
    return ", ".join(f"{name} ({n})" for name, n in counts.items())
