"""`manage.py adopt`: what is in a service's deploy roots, what will happen, and what is recorded."""

from __future__ import annotations

import html
import os
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from deploys.models import Package
from inventory.instances.sync import sync_service
from inventory.models import Instance, Node
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.foreign_trees import CAPISTRANO_RELEASES, capistrano, contents, deployer, linked_build, uploads
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def instances(tmp_path: Path) -> list[Instance]:
    """Capistrano's, Deployer's, a link elsewhere, a folder in the link's place, nothing."""
    made = make_instances(make_service(), make_node(), 5, root=str(tmp_path))
    roots = [Path(instance.deploy_root) for instance in made]
    capistrano(roots[0])
    uploads(roots[0] / "releases" / "1.2.0")
    deployer(roots[1])
    linked_build(roots[2], tmp_path / "builds" / "42")
    (roots[3] / "current").mkdir(parents=True)
    (roots[1] / ".release" / "claim.3" / "gone.0").mkdir(parents=True)
    return made


def adopt(*options: str) -> str:
    out = StringIO()
    call_command("adopt", "user-service", *options, stdout=out)
    return out.getvalue()


def history(instances: list[Instance]) -> list[tuple[list[str], str, str]]:
    for instance in instances:
        instance.refresh_from_db()
    return [(each.release_history, each.found_release, each.found_current) for each in instances]


def test_it_shows_what_is_there_and_records_it(instances: list[Instance], tmp_path: Path) -> None:
    before = contents(tmp_path)
    shown = adopt("--dry-run")
    newest = CAPISTRANO_RELEASES[-1]
    assert f"`current` leads to release '{newest}', which another tool installed" in shown
    assert f"4 under releases/: 1.2.0, {', '.join(CAPISTRANO_RELEASES)}." in shown
    assert (
        f"`current` leads to {tmp_path}/builds/42. A first deploy that fails is reverted to it, if it is there still"
        in shown
    )
    assert "a deploy is refused until it is moved away" in shown
    assert "Nothing is installed" in shown
    assert f"Could not be removed: {instances[1].deploy_root}/.release/claim.3/gone.0, " in shown
    assert history(instances) == [([], "", "")] * 5
    assert adopt().startswith(shown[: shown.index("Dry run")])
    found = [([newest], newest, ""), (["3"], "3", ""), ([], "", f"{tmp_path}/builds/42"), ([], "", ""), ([], "", "")]
    assert history(instances) == found
    adopt()
    assert history(instances) == found
    assert contents(tmp_path) == before


def test_an_unknown_service_is_said() -> None:
    with pytest.raises(CommandError, match="there is no service 'nothing'"):
        call_command("adopt", "nothing")


def test_an_instances_page_names_what_was_found(
    instances: list[Instance], admin_client: Client, tmp_path: Path
) -> None:
    adopt()
    for instance, found in zip(instances, (CAPISTRANO_RELEASES[-1], "3", f"{tmp_path}/builds/42"), strict=False):
        page = admin_client.get(f"/instances/{instance.instance_id}").content.decode()
        assert "ound there</dt>" in page
        assert f'<dd class="mono">{found}</dd>' in page
    assert "ound there</dt>" not in admin_client.get(f"/instances/{instances[4].instance_id}").content.decode()


def text_of(page: bytes) -> str:
    return html.unescape(page.decode())


def test_a_page_shows_of_each_instance_what_the_last_sync_saw(instances: list[Instance], admin_client: Client) -> None:
    """The same sentences as the command; a version that is known here too is said not to have been compared."""
    service = instances[0].service
    Package.objects.create(
        service=service, version="1.2.0", release="1.2.0", url="http://x/y", sha256="0" * 64, size_bytes=1
    )
    assert "Not read yet." in text_of(admin_client.get(f"/services/{service.name}/adopt").content)
    sent = admin_client.post(f"/services/{service.name}/sync", {"page": "adopt"})
    assert sent.headers["Location"] == f"/services/{service.name}/adopt"
    sync_service(service.pk)

    shown = text_of(admin_client.get(f"/services/{service.name}/adopt").content)

    said = [line.strip() for line in adopt("--dry-run").splitlines() if line.startswith("  ")]
    assert len(said) == 9
    assert [line for line in said if line not in shown] == []
    assert "Of these, 1.2.0 are also known here as versions with packages of their own." in shown
    (Path(instances[1].deploy_root) / ".release" / "claim.3" / "gone.0" / "data").write_bytes(os.urandom(2_000_000))
    sync_service(service.pk)
    page = text_of(admin_client.get(f"/instances/{instances[1].instance_id}").content)
    assert re.search(
        rf"Could not be removed: {instances[1].deploy_root}/\.release/claim\.3/gone\.0, 19\d\d KiB\.", page
    )


def test_a_node_that_is_away_leaves_what_was_seen(instances: list[Instance], admin_client: Client) -> None:
    adopt()
    Node.objects.update(
        transport="ssh", ssh_user="x", ssh_host_key="ssh-ed25519 AAAA", host="127.0.0.1", ssh_port=free_port()
    )
    sync_service(instances[0].service_id)
    shown = text_of(admin_client.get(f"/services/{instances[0].service.name}/adopt").content)
    assert f"leads to release '{CAPISTRANO_RELEASES[-1]}'" in shown
