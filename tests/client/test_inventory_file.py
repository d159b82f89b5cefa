"""`release inventory pull`, `diff` and `push`: the inventory as a file that somebody edits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from inventory.models import Node, Service
from release_client import Misused
from release_client.inventory import Inventory, difference
from tests.client.flaky_http import Fault, flaky_http
from tests.client.world import Ran, World
from tests.support.api import new_token

pytestmark = pytest.mark.timeout(180)


class Editor:
    """Somebody who keeps the inventory in a file."""

    def __init__(self, world: World, file: Path) -> None:
        self.world = world
        self.file = file
        self._token = new_token("inventory")

    def release(self, *arguments: str, **variables: str) -> Ran:
        return self.world.release("inventory", *arguments, RELEASE_TOKEN=self._token, **variables)

    def pull(self) -> None:
        self.file.write_text(self.release("pull").out)

    def push(self, *options: str, **variables: str) -> Ran:
        return self.release("push", str(self.file), *options, **variables)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new, 1))


@pytest.fixture
def editor(world: World, tmp_path: Path) -> Iterator[Editor]:
    """With a pulled file."""
    before = {service.pk: service.keep_releases for service in Service.objects.all()}
    editor = Editor(world, tmp_path / "inventory.yaml")
    editor.pull()
    yield editor
    for pk, keep_releases in before.items():
        Service.objects.filter(pk=pk).update(keep_releases=keep_releases)


def test_what_was_pulled_and_edited_is_shown_and_pushed(editor: Editor) -> None:
    editor.edit("keep_releases: 5", "keep_releases: 6")

    shown = editor.release("diff", str(editor.file))
    tried = editor.push("--dry-run")
    assert Service.objects.get().keep_releases == 5
    pushed = editor.push()

    assert "+keep_releases: 6" in shown.out
    assert "-keep_releases: 5" in shown.out
    assert "0 would be created, 1 would be updated" in shown.out
    assert "1 would be updated" in tried.out
    assert (pushed.status, "0 created, 1 updated" in pushed.out) == (0, True), pushed
    assert Service.objects.get().keep_releases == 6


def test_a_file_is_pushed_again_and_again(editor: Editor) -> None:
    editor.edit("keep_releases: 5", "keep_releases: 6")
    assert editor.push().status == 0
    editor.edit("keep_releases: 6", "keep_releases: 7")

    again = editor.push("--json")

    assert again.status == 0, again
    assert again.json["updated"] == 1


def test_who_was_slower_is_refused(editor: Editor) -> None:
    Service.objects.update(keep_releases=8)
    editor.edit("keep_releases: 5", "keep_releases: 6")

    refused = editor.push()
    assert Service.objects.get().keep_releases == 8
    overwritten = editor.push("--overwrite")

    assert refused.status == 4, refused
    assert f"was changed since {editor.file} was pulled" in refused.err
    assert overwritten.status == 0, overwritten
    assert Service.objects.get().keep_releases == 6


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_push_whose_answer_was_lost_is_no_quarrel_with_oneself(editor: Editor, fault: Fault) -> None:
    editor.edit("keep_releases: 5", "keep_releases: 6")

    with flaky_http(editor.world.url) as flaky:
        flaky.method = "PUT"
        flaky.faults.append(fault)
        pushed = editor.push(RELEASE_URL=flaky.url)

    assert pushed.status == 0, pushed
    assert Service.objects.get().keep_releases == 6


def test_every_fault_of_a_file_is_named(editor: Editor) -> None:
    editor.edit("keep_releases: 5", "keep_releases: -1")
    editor.edit("port: 8001", "port: 800100")

    refused = editor.push()

    assert refused.status == 4, refused
    assert "keep_releases" in refused.err
    assert "port" in refused.err


def test_a_file_with_a_part_of_the_inventory_creates(world: World, editor: Editor) -> None:
    editor.file.write_text("nodes:\n  - {name: new-node, host: 127.0.0.2, transport: local}\n")

    shown = editor.release("diff", str(editor.file), "--json")
    pushed = editor.push()

    assert shown.json["created"] == 1
    assert "+host: 127.0.0.2" in shown.json["diff"]
    assert pushed.status == 0, pushed
    assert Node.objects.get(name="new-node").host == "127.0.0.2"
    Node.objects.filter(name="new-node").delete()


def test_what_is_pulled_is_what_import_inventory_reads(editor: Editor) -> None:
    document = yaml.safe_load(editor.file.read_text())

    assert [service["name"] for service in document["services"]] == ["user-service"]
    assert editor.release("pull", "--json").json == document


def test_a_file_that_is_no_document_is_refused_here(tmp_path: Path) -> None:
    for text, said in (("a: [", "not YAML"), ("- a", "must hold a mapping"), ("nodes: []\nnodes: []", "comes twice")):
        with pytest.raises(Misused, match=said):
            Inventory.from_yaml(text, filename="x.yaml")


def test_nothing_differs_when_nothing_is_changed() -> None:
    before = {"services": [{"name": "a", "keep_releases": 5, "mutable_versions": False}], "nodes": []}

    assert list(difference(before, {"services": [{"name": "a", "keep_releases": 5}]})) == []
    assert "+keep_releases: 6" in list(difference(before, {"services": [{"name": "a", "keep_releases": 6}]}))
