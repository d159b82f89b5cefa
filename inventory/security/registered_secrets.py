"""Finds registered secrets in a text, in whatever spelling they stand there.

Text and secrets are brought to one normal form: percent-, JSON- and HTML-escapes are undone, several layers of them
too, and quotes and backslashes, with which shells and languages write them, are left out. Base64 and hexadecimal
spellings are looked for as such. All of it takes time linear in the text's length.
"""

from __future__ import annotations

import base64
import html
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

# Shorter values would blank out everyday words.
SHORTEST_SECRET = 6
# Of a secret that was cut in two, more than so many bytes are never shown.
_MOST_SHOWN = 3
# What is left of an escape that a cut went through, `\u002` or `&#x2`, in bytes.
_LONGEST_ESCAPE = 9
# Layers of escapes: a URL in JSON in HTML has three.
_LAYERS = 3

_ESCAPE = re.compile(
    rb"%(?:25)*(?P<percent>[0-9A-Fa-f]{2})"
    rb"|\\{1,8}(?:u(?P<unicode>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2}))"
    rb"|&(?:amp;)*(?P<entity>#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos|sol|nbsp);"
)
_LEFT_OUT = re.compile(rb"[\\'\"]+")
# A plus is a blank in a query; a control character's escape, `\t`, has lost its backslash.
_ALIKE = bytes.maketrans(b"+\t\n\r", b" tnr")

Found = tuple[int, int]


class RegisteredSecrets:
    """The secrets of this process. Adding is rare, masking is not. generation: rises behind each one that is added."""

    def __init__(self) -> None:
        self.generation = 0
        self._secrets: frozenset[str] = frozenset()
        self._needles: tuple[bytes, ...] = ()
        self._literal: tuple[bytes, ...] = ()

    def add(self, secret: str) -> None:
        """Too short: ignored."""
        if len(secret) < SHORTEST_SECRET:
            return
        self._secrets |= {secret}
        needles = {needle for each in self._secrets for needle in _needles(each)}
        self._needles = tuple(sorted(needles, key=len, reverse=True))
        self._literal = tuple({literal for each in self._secrets for literal in _literals(each)})
        self.generation += 1

    def mask(self, text: str, mask: str, *, cut_before: bool = False, cut_after: bool = False) -> str:
        """`text` with each secret in it replaced; cut_…: the text may begin or end in the middle of one."""
        if not self._needles:
            return text
        data = text.encode("utf-8", "surrogatepass")
        found = self._found(data, cut_before=cut_before, cut_after=cut_after)
        if not found:
            return text
        return _replaced(data, found, mask.encode()).decode("utf-8", "replace")

    def _found(self, data: bytes, *, cut_before: bool, cut_after: bool) -> list[Found]:
        normal = _normal(data)
        is_cut = cut_before or cut_after
        literal = [span for needle in self._literal for span in _occurrences(needle, data)]
        if not is_cut and not any(needle in normal for needle in self._needles):
            return literal
        spelled = _Spelled.of(data)
        spans = [span for needle in self._needles for span in _occurrences(needle, spelled.normal)]
        if cut_before:
            spans += _begun_before(self._needles, spelled.normal)
        if cut_after:
            spans += _begun_at_the_end(self._needles, spelled.normal)
        return [*literal, *((spelled.starts[start], spelled.ends[end - 1]) for start, end in spans)]


def _needles(secret: str) -> Iterator[bytes]:
    """What to look for in a normal form."""
    plain = secret.encode("utf-8", "surrogatepass")
    for written in (plain, json.dumps(secret)[1:-1].encode()):
        if len(normal := _normal(written)) >= SHORTEST_SECRET:
            yield normal
    yield from (_normal(core) for core in _base64_cores(plain))
    yield plain.hex().encode()
    yield plain.hex().upper().encode()


def _literals(secret: str) -> Iterator[bytes]:
    """Of a secret of quotes and escapes, whose normal form has too little left to look for: a few spellings as they are."""
    plain = secret.encode("utf-8", "surrogatepass")
    if len(_normal(plain)) < SHORTEST_SECRET:
        yield from (plain, quote(plain, safe="").encode(), quote(plain).encode(), json.dumps(secret)[1:-1].encode())


def _base64_cores(plain: bytes) -> Iterator[bytes]:
    """The characters that are the secret's alone, wherever in the encoded bytes it begins."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + plain).rstrip(b"=")
        is_shared = (before + len(plain)) % 3 != 0
        core = encoded[before + (before > 0) : len(encoded) - is_shared]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _undone(match: re.Match[bytes]) -> bytes:
    digits = match["percent"] or match["byte"]
    if digits:
        return bytes((int(digits, 16),))
    if match["unicode"]:
        return chr(int(match["unicode"], 16)).encode("utf-8", "surrogatepass")
    return html.unescape(f"&{match['entity'].decode()};").encode("utf-8", "surrogatepass")


def _has_escapes(data: bytes) -> bool:
    return b"%" in data or b"\\" in data or b"&" in data


def _normal(data: bytes) -> bytes:
    for _ in range(_LAYERS):
        if not _has_escapes(data):
            break
        before, data = data, _ESCAPE.sub(_undone, data)
        if data == before:
            break
    return _LEFT_OUT.sub(b"", data).translate(_ALIKE)


@dataclass(frozen=True, kw_only=True)
class _Spelled:
    """A normal form, and where in the text each of its bytes is spelled."""

    normal: bytes
    starts: array[int]
    ends: array[int]

    @classmethod
    def of(cls, data: bytes) -> _Spelled:
        spelled = cls(normal=data, starts=array("q", range(len(data))), ends=array("q", range(1, len(data) + 1)))
        for _ in range(_LAYERS):
            before = spelled.normal
            spelled = spelled._rewritten(_ESCAPE, _undone)
            if spelled.normal == before:
                break
        spelled = spelled._rewritten(_LEFT_OUT, lambda match: b"")
        return cls(normal=spelled.normal.translate(_ALIKE), starts=spelled.starts, ends=spelled.ends)

    def _rewritten(self, pattern: re.Pattern[bytes], written: Callable[[re.Match[bytes]], bytes]) -> _Spelled:
        normal, starts, ends, at = bytearray(), array("q"), array("q"), 0
        for match in pattern.finditer(self.normal):
            begin, end = match.span()
            new = written(match)
            normal += self.normal[at:begin] + new
            starts += self.starts[at:begin] + array("q", [self.starts[begin]] * len(new))
            ends += self.ends[at:begin] + array("q", [self.ends[end - 1]] * len(new))
            at = end
        normal += self.normal[at:]
        starts += self.starts[at:]
        ends += self.ends[at:]
        return _Spelled(normal=bytes(normal), starts=starts, ends=ends)


def _occurrences(needle: bytes, normal: bytes) -> Iterator[Found]:
    """Overlapping ones too: of two that share bytes, a part would be left of the second."""
    at = normal.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = normal.find(needle, at + 1)


def _begun_before(needles: Iterable[bytes], normal: bytes) -> Iterator[Found]:
    """What a cut has left of a secret at the very start, behind the rest of an escape perhaps."""
    for needle in needles:
        for length in range(min(len(needle) - 1, len(normal)), _MOST_SHOWN, -1):
            at = normal.find(needle[-length:], 0, length + _LONGEST_ESCAPE)
            if at >= 0:
                yield 0, at + length
                break


def _begun_at_the_end(needles: Iterable[bytes], normal: bytes) -> Iterator[Found]:
    for needle in needles:
        for length in range(min(len(needle) - 1, len(normal)), _MOST_SHOWN, -1):
            at = normal.rfind(needle[:length], max(0, len(normal) - length - _LONGEST_ESCAPE))
            if at >= 0:
                yield at, len(normal)
                break


def _replaced(data: bytes, found: Iterable[Found], mask: bytes) -> bytes:
    """One mask for spans that overlap."""
    written, at = bytearray(), 0
    for start, end in sorted(found):
        if start >= at:
            written += data[at:start] + mask
        at = max(at, end)
    return bytes(written + data[at:])
