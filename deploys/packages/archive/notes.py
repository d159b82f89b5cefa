"""What was taken otherwise than the archive says: lines for the operation's log."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploys.packages.archive.members import Member
from deploys.packages.archive.refusals import shown
from inventory.told import Told
from inventory.told import marked as gettext_noop

_NAMED = 3


@dataclass(kw_only=True)
class Tally:
    """How many members, and the first few of their names."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < _NAMED and name not in self.names:
            self.names.append(name)

    @property
    def told(self) -> Told:
        """`2 members ('a', 'b')`"""
        more = ", …" if self.count > len(self.names) else ""
        text = gettext_noop("1 member (%(names)s)")
        if self.count != 1:
            text = gettext_noop("%(count)s members (%(names)s)")
        return Told(text, {"count": self.count, "names": f"{', '.join(map(shown, self.names))}{more}"})


class Notes:
    def __init__(self) -> None:
        self._special_bits = Tally()
        self._guessed_names = Tally()

    def see(self, member: Member) -> None:
        if member.has_special_bits:
            self._special_bits.add(member.name)
        if member.has_guessed_name:
            self._guessed_names.add(member.name)

    @property
    def has_guessed_names(self) -> bool:
        return self._guessed_names.count > 0

    def lines(self, replaced: Tally) -> list[Told]:
        """replaced: members that came again."""
        texts = (
            (
                self._special_bits,
                gettext_noop(
                    "The setuid, setgid and sticky bits of %(members)s are gone: releases are files of 0644 and 0755. What needs "
                    "them is set up on the node, by its own administrator."
                ),
            ),
            (replaced, gettext_noop("Repeated in the archive, so that the last of each counts: %(members)s.")),
            (
                self._guessed_names,
                gettext_noop("Read as GBK, as the service's zip_names says: the names of %(members)s."),
            ),
        )
        return [Told(text, {"members": tally.told}) for tally, text in texts if tally.count]
