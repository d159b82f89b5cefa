"""Reads an inventory file (CONTRACT.md, "Inventory file") into entries of the right types, each with its lines.

YAML is composed into nodes and never constructed into objects. Size, number of nodes and depth are bounded before the
nodes are made; an alias is a second reference to one node, so that it multiplies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.utils.translation import gettext as _

from inventory.errors import Problem, ReleaseError

MAX_BYTES = 16 * 1024**2
# Some 50,000 instances, and 300 MB of memory.
_MAX_YAML_NODES = 700_000
_MAX_ANCHORS = 1000
_MAX_DEPTH = 8
_MAX_KEYS = 50
MAX_PROBLEMS = 200

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key that an entry may have."""

    type: type[str | int | bool] = str
    is_required: bool = False


SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "services": {
        "name": Key(is_required=True),
        "restart_command": Key(),
        "before_switch_command": Key(),
        "command_timeout": Key(type=int),
        "keep_releases": Key(type=int),
        "mutable_versions": Key(type=bool),
        "require_sha256": Key(type=bool),
        "signing_key": Key(),
        "sync_enabled": Key(type=bool),
    },
    "nodes": {
        "name": Key(is_required=True),
        "host": Key(is_required=True),
        "transport": Key(),
        "ssh_user": Key(),
        "ssh_port": Key(type=int),
        "ssh_host_key": Key(),
        "delivery": Key(),
    },
    "instances": {
        "instance_id": Key(is_required=True),
        "service": Key(is_required=True),
        "node": Key(is_required=True),
        "port": Key(type=int, is_required=True),
        "deploy_root": Key(is_required=True),
    },
}


class InventoryFileError(ReleaseError):
    """400: everything that is wrong with an inventory file; each problem's detail begins with FILE:LINE."""

    default_code = "invalid_inventory"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One service, node or instance as the file has it. lines tells the line of each key, those at fault included."""

    section: str
    index: int
    line: int
    values: Mapping[str, str | int | bool]
    lines: Mapping[str, int]

    @property
    def name(self) -> str:
        """Its name or instance_id; '' when it has none that can be read."""
        return str(self.values.get("instance_id" if self.section == "instances" else "name", ""))

    @property
    def label(self) -> str:
        return f"{self.section}[{self.index}] ({self.name})" if self.name else f"{self.section}[{self.index}]"


@dataclass(kw_only=True)
class Document:
    """What was read, and what was wrong with it; the importer adds the problems that only it can see."""

    filename: str
    entries: dict[str, list[Entry]] = field(default_factory=lambda: {section: [] for section in SECTIONS})
    problems: list[tuple[int, Problem]] = field(default_factory=list)

    def complain(self, line: int, detail: str, *, code: str = "invalid_inventory", attr: str | None = None) -> None:
        problem = Problem(code=code, detail=f"{self.filename}:{line}: {detail}", attr=attr)
        self.problems.append((line, problem))

    def complain_of(self, entry: Entry, detail: str, *, key: str | None = None, code: str = "invalid") -> None:
        what = f"{entry.label}: {key}: {detail}" if key else f"{entry.label}: {detail}"
        line = entry.lines.get(key or "", entry.line)
        self.complain(line, what, code=code, attr=f"{entry.section}.{entry.index}.{key}" if key else None)

    def raise_if_wrong(self) -> None:
        """Raise InventoryFileError with every problem, in the file's order; past MAX_PROBLEMS, their number."""
        if not self.problems:
            return
        found = [problem for _line, problem in sorted(self.problems, key=lambda item: item[0])]
        shown = found[:MAX_PROBLEMS]
        if len(found) > len(shown):
            rest = _("%(filename)s: and %(count)d problems more") % {
                "filename": self.filename,
                "count": len(found) - len(shown),
            }
            shown.append(Problem(code="invalid_inventory", detail=rest))
        raise InventoryFileError(problems=shown)


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
        document.complain(1, _("the file holds nothing"), code="invalid_yaml")
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
        document.complain(_line(root), _("must be a mapping with services, nodes and instances"))
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
    if len(node.value) > _MAX_KEYS:
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
    keys = SECTIONS[section]
    values: dict[str, str | int | bool] = {}
    lines: dict[str, int] = {}
    faults: list[tuple[str | None, str, str]] = []
    for key, line, value_node in _pairs(node, document, where=f"{section}[{index}]: "):
        lines[key] = line
        if key not in keys:
            known = ", ".join(keys)
            faults.append((key, "unknown_key", _("unknown key; known: %(known)s") % {"known": known}))
            continue
        value = _scalar(value_node, keys[key].type)
        if value is None:
            faults.append((key, "wrong_type", _wrong_type(value_node, keys[key].type)))
        else:
            values[key] = value
    for key, rule in keys.items():
        if rule.is_required and key not in lines:
            faults.append((None, "required", _("%(key)s is missing") % {"key": key}))
    entry = Entry(section=section, index=index, line=_line(node), values=values, lines=lines)
    for fault_key, code, detail in faults:
        document.complain_of(entry, detail, key=fault_key, code=code)
    return entry


def _scalar(node: yaml.Node, wanted: type[str | int | bool]) -> str | int | bool | None:
    """The node's value, or None when it is of another type. Whole numbers are decimal: 010 and 22:22 are refused."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    text: str = node.value
    if wanted is str:
        return text if node.tag == f"{_TAG}str" else None
    if wanted is int:
        is_number = node.tag == f"{_TAG}int" and _WHOLE_NUMBER.fullmatch(text)
        return int(text) if is_number else None
    return _TRUTH.get(text.lower()) if node.tag == f"{_TAG}bool" else None


def _wrong_type(node: yaml.Node, wanted: type[str | int | bool]) -> str:
    if _is_null(node):
        return _("has no value; leave the key out or give one")
    if wanted is int:
        return _("must be a whole number")
    if wanted is bool:
        return _("must be true or false")
    if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
        return _("must be text; write it in quotes: %(value)s") % {"value": _quoted(node.value)}
    return _("must be text")


def _quoted(text: str) -> str:
    return '"' + text[:100].replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"
