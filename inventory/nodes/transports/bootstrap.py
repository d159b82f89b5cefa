"""How a program reaches `sh` on a node: by stdin, so that no process's arguments hold it, whatever the login's shell.

What is started is one constant line that csh, fish and every POSIX shell read alike: one line, no backslash, no `!`,
single quotes around the rest. It reads a header (`release-node LENGTH ARGUMENTS…`), then as many bytes as that says, and
follows them only when they end as a whole program does: a profile that reads stdin has taken the beginning away.
What comes after them is the program's own stdin. deploys/node/gate.sh reads the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

NAME = "release-node"
_END = "# whole"
_INCOMPLETE = f"{NAME}: what was sent did not arrive whole: does a profile of this login read stdin?"
# `read` takes no byte more than its line; GNU's `head` no byte more than it is told to.
_BOOT = (
    f"read -r w n a; case $w in {NAME}) p=$(head -c $n);; *) p=;; esac; "
    f'case $p in *"{_END}") eval "$p";; *) echo "{_INCOMPLETE}" >&2; exit 65;; esac'
)
ARGV = ("sh", "-c", _BOOT, NAME)
# With `exec`, so that no login shell stays beside the program and its exit and signals are its own.
COMMAND_LINE = f"exec {shlex.join(ARGV)}"
# In the line of arguments a newline is the program's $nl.
_NEWLINE = "'\"$nl\"'"
_PRELUDE = "nl='\n'\neval \"set -- $a\"\nunset w n a p\n"


def framed(program: str) -> str:
    """The text that is sent, and followed when it is there whole. It finds its arguments in "$@"."""
    return f"{_PRELUDE}{program}\n{_END}"


def message(program: str, arguments: Sequence[str]) -> bytes:
    """All that goes to stdin before what the program itself reads there."""
    text = framed(program).encode()
    return f"{NAME} {len(text)} ".encode() + line(arguments) + text


def line(arguments: Sequence[str]) -> bytes:
    """One line that `eval "set -- LINE"` takes apart again, where $nl is a newline."""
    return shlex.join(arguments).replace("\n", _NEWLINE).encode() + b"\n"
