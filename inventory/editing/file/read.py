"""Reads an inventory file (CONTRACT.md, "Inventory file") into entries of the right types, each with its lines.

YAML is composed into nodes and never constructed into objects. Size, number of nodes and depth are bounded before the
nodes are made; an alias is a second reference to one node, so that it multiplies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail

from inventory.editing.file.document import MAX_KEYS, SECTIONS, Document, Entry, is_text, typed, unknown_key

MAX_BYTES = 16 * 1024**2
# Some 50,000 instances, and 300 MB of memory.
_MAX_YAML_NODES = 700_000
_MAX_ANCHORS = 1000
_MAX_DEPTH = 8

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read(data: bytes, *, filename: str) -> Document:
    """Entries with only the known keys of the right type. Raises InventoryFileError where YAML itself is at fault."""
    document = Document(filename=filename)
    root = _compose(data, document)
    if root is not None:
        _read_root(root, document)
    return document


def _compose(data: bytes, document: Document) -> yaml.Node | None:
    if len(data) > MAX_BYTES:
        document.complain(1, _("the file is larger than %(limit)d bytes") % {"limit": MAX_BYTES}, code="too_large")
    else:
        try:
            text = data.decode("utf-8-sig")
            _check_bounds(text, document)
            if not document.problems:
                return _single_document(text, document)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            document.complain(line, _("the file is not UTF-8 text"), code="invalid_yaml")
        except yaml.YAMLError as error:
            document.complain(*_yaml_fault(error), code="invalid_yaml")
    document.raise_if_wrong()
    return None


def _single_document(text: str, document: Document) -> yaml.Node:
    root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    if root is None:
        document.complain(1, _("the file is empty"), code="invalid_yaml")
        document.raise_if_wrong()
    assert root is not None
    return root


def _check_bounds(text: str, document: Document) -> None:
    """Without recursion, before the composer recurses."""
    depth = anchors = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        anchors += getattr(event, "anchor", None) is not None
        if anchors > _MAX_ANCHORS:
            return document.complain(_line(event), _("too many anchors and aliases"), code="too_large")
        if depth > _MAX_DEPTH:
            return document.complain(_line(event), _("nested too deeply"), code="too_large")
        if count > _MAX_YAML_NODES:
            return document.complain(_line(event), _("too many entries in one file"), code="too_large")
    return None


def _yaml_fault(error: yaml.YAMLError) -> tuple[int, str]:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        return (mark.line + 1 if mark else 1), _("not valid YAML: %(problem)s") % {"problem": problem}
    if isinstance(error, yaml.reader.ReaderError):
        return 1, _("not valid YAML: a character that YAML does not allow at position %(position)s") % {
            "position": error.position
        }
    return 1, _("not valid YAML: %(problem)s") % {"problem": error}


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _read_root(root: yaml.Node, document: Document) -> None:
    if not isinstance(root, yaml.MappingNode):
        document.complain(_line(root), _("must be a mapping with services, jump_hosts, nodes and instances"))
        return
    for section, key_line, node in _pairs(root, document, where=""):
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            document.complain(
                key_line,
                _("unknown key %(key)r; known: %(known)s") % {"key": section, "known": known},
                code="unknown_key",
            )
        else:
            _read_section(section, node, document)


def _pairs(node: yaml.MappingNode, document: Document, *, where: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """Key, its line, value. Keys that are no text and keys that come again are complained of and left out."""
    seen: dict[str, int] = {}
    if len(node.value) > MAX_KEYS:
        document.complain(_line(node), where + _("has too many keys"), code="unknown_key")
        return
    for key_node, value_node in node.value:
        line = _line(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            document.complain(line, where + _("a key must be text"), code="unknown_key")
            continue
        key = key_node.value
        if key in seen:
            message = _("the key %(key)r is there already, on line %(line)d") % {"key": key, "line": seen[key]}
            document.complain(line, where + message, code="duplicate_key")
            continue
        seen[key] = line
        yield key, line, value_node


def _read_section(section: str, node: yaml.Node, document: Document) -> None:
    if _is_null(node):
        return
    if not isinstance(node, yaml.SequenceNode):
        document.complain(_line(node), _("%(section)s must be a list") % {"section": section})
        return
    for index, item in enumerate(node.value):
        if isinstance(item, yaml.MappingNode):
            document.entries[section].append(_read_entry(section, index, item, document))
        else:
            label = f"{section}[{index}]"
            document.complain(_line(item), _("%(label)s must be a mapping") % {"label": label})


def _read_entry(section: str, index: int, node: yaml.MappingNode, document: Document) -> Entry:
    given = {key: (line, value) for key, line, value in _pairs(node, document, where=f"{section}[{index}]: ")}
    values, faults = typed(section, {key: _plain(value) for key, (_line, value) in given.items()})
    lines = {key: line for key, (line, _value) in given.items()}
    entry = Entry(section=section, index=index, line=_line(node), values=values, lines=lines)
    for key, errors in faults.items():
        detail = _detail(errors[0], section, key, given[key][1] if key in given else None)
        document.complain_of(entry, detail, key=key, code=errors[0].code or "invalid")
    return entry


def _plain(node: yaml.Node) -> Any:
    """A scalar's value; the node itself where it is of no type of ours. 010 and 22:22 are no numbers."""
    if not isinstance(node, yaml.ScalarNode):
        return node
    text: str = node.value
    if node.tag == f"{_TAG}str":
        return text
    if node.tag == f"{_TAG}int":
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else node
    if node.tag == f"{_TAG}bool":
        return _BOOLEANS.get(text.lower(), node)
    return None if _is_null(node) else node


def _detail(error: ErrorDetail, section: str, key: str, node: yaml.Node | None) -> str:
    """In the file's words: where YAML took a text for something else, how to write it."""
    if error.code == "unknown_field":
        return unknown_key(section)
    wants_text = error.code == "wrong_type" and is_text(section, key)
    if wants_text and isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
        return _("must be text; write it in quotes: %(value)s") % {"value": _quoted(node.value)}
    return str(error)


def _quoted(text: str) -> str:
    return '"' + text[:100].replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"
