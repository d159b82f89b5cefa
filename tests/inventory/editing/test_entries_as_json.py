"""An entry of the inventory document is refused in the same words as YAML and as JSON; neither is converted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inventory.editing.file import read
from inventory.editing.file.document import SECTIONS, Document, InventoryFileError
from inventory.wire.inventory_document import InstanceEntry, JumpHostEntry, NodeEntry, ServiceEntry

SOUND: dict[str, dict[str, Any]] = {
    "services": {"name": "shop", "keep_releases": 7, "mutable_versions": True, "restart_command": ""},
    "jump_hosts": {"name": "dmz", "host": "10.0.0.1", "ssh_user": "jump", "ssh_host_key": "ssh-ed25519 A", "jump": ""},
    "nodes": {"name": "web-1", "host": "10.0.0.7", "ssh_port": 22},
    "instances": {"instance_id": "i-1", "service": "shop", "node": "web-1", "port": 80, "deploy_root": "/srv/i-1"},
}
ENTRIES: dict[str, Any] = {
    "services": ServiceEntry,
    "jump_hosts": JumpHostEntry,
    "nodes": NodeEntry,
    "instances": InstanceEntry,
}
FAULTS = [
    ("services", "keep_releases", "7", "must be an integer"),
    ("services", "keep_releases", 7.0, "must be an integer"),
    ("services", "keep_releases", True, "must be an integer"),
    ("services", "keep_releases", None, "has no value; leave the key out or give one"),
    ("services", "mutable_versions", 1, "must be true or false"),
    ("services", "mutable_versions", "true", "must be true or false"),
    ("nodes", "host", ["h"], "must be text"),
    ("nodes", "host", {"a": "h"}, "must be text"),
    ("instances", "port", "80", "must be an integer"),
    ("instances", "node", "a\0b", "must not contain NUL or invalid characters"),
]


def of_file(section: str, entry: dict[str, Any]) -> Document:
    # JSON is YAML too.
    return read.read(json.dumps({section: [entry]}).encode(), filename="f.yaml")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_sound_entry_is_kept_as_it_is(section: str) -> None:
    as_json = ENTRIES[section](data=SOUND[section])
    document = of_file(section, SOUND[section])

    assert as_json.is_valid()
    assert as_json.validated_data == SOUND[section] == document.entries[section][0].values
    document.raise_if_wrong()


@pytest.mark.parametrize(("section", "key", "value", "sentence"), FAULTS)
def test_a_value_of_another_type_is_refused_in_the_same_words(
    section: str, key: str, value: Any, sentence: str
) -> None:
    entry = {**SOUND[section], key: value}
    as_json = ENTRIES[section](data=entry)
    document = of_file(section, entry)

    assert not as_json.is_valid()
    assert as_json.errors == {key: [sentence]}
    assert document.entries[section][0].values == {each: SOUND[section][each] for each in SOUND[section] if each != key}
    with pytest.raises(InventoryFileError, match=f": {key}: {sentence}$"):
        document.raise_if_wrong()


@pytest.mark.parametrize("section", SECTIONS)
def test_missing_and_unknown_keys_are_refused_by_both(section: str) -> None:
    entry = {**SOUND[section], "colour": "red"}
    missing = "instance_id" if section == "instances" else "name"
    del entry[missing]
    as_json = ENTRIES[section](data=entry)
    document = of_file(section, entry)

    assert not as_json.is_valid()
    assert as_json.errors.keys() == {missing, "colour"}
    assert {problem.attr for _line, problem in document.problems} == {f"{section}.0.{missing}", f"{section}.0.colour"}
