"""Names and texts of the greatest length, without a place to break: nothing overlaps, is cut, or scrolls sideways."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from deploys.models import Operation
from inventory.models import Instance, Node
from tests.console.conftest import OpenPage
from tests.support.long_names import OPERATION, SERVICE, VERSIONS, long_fleet

# What can be seen of the page's texts: those that reach out of the window or are cut, and pairs that lie on each other.
LOOK = """() => {
  const width = document.documentElement.clientWidth, found = [];
  const full = document.documentElement.scrollWidth;
  if (full > width) found.push(`the page scrolls sideways: ${full} > ${width}`);
  const up = function* (e) { for (; e && e !== document.body; e = e.parentElement) yield [e, getComputedStyle(e)]; };
  const moves = (e) => [...up(e)].some(([, s]) => /auto|scroll/.test(s.overflowX) || /fixed|sticky/.test(s.position));
  const unseen = ".visually-hidden, .skip, thead, dialog, option, select";
  const isShown = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !e.closest(unseen);
  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, range = document.createRange();
    if (!walk.currentNode.data.trim() || !isShown(e)) continue;
    range.selectNodeContents(walk.currentNode);
    const name = `${walk.currentNode.data.trim().slice(0, 24)} <${e.className}>`;
    for (const r of range.getClientRects()) if (r.width > 1 && r.height > 1) texts.push({ r, e, name });
  }
  for (const { r, e, name } of texts) {
    if ((r.right > width + 1 || r.left < -1) && !moves(e)) found.push(`out of the window: ${name} ${r.right}`);
    for (const [box, style] of up(e)) {
      if (/inline|contents/.test(style.display)) continue;
      const b = box.getBoundingClientRect(), isOut = r.right > b.right + 1 || r.left < b.left - 1;
      if (/hidden|clip/.test(style.overflowX) && isOut && style.textOverflow !== "ellipsis") found.push(`cut: ${name}`);
      if (/auto|scroll/.test(style.overflowX)) break;
    }
  }
  const still = texts.filter(({ e }) => !moves(e));
  still.forEach((a, place) => {
    for (const b of still.slice(place + 1)) {
      const w = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left);
      const h = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
      if (a.e !== b.e && w > 2 && h > 6) found.push(`on each other: ${a.name} and ${b.name}`);
    }
  });
  return [...new Set(found)].slice(0, 12);
}"""


def pages() -> dict[str, str]:
    node, instance = Node.objects.get(), Instance.objects.order_by("natural_key")[0]
    back = Operation.objects.get(kind="rollback")
    failed = Operation.objects.get(public_id__startswith="failed-")
    service = reverse("service", args=[SERVICE])
    return {
        "overview": "/",
        "service": service,
        "history": "/history",
        "running": reverse("deploy", args=[OPERATION]),
        "failed": reverse("deploy", args=[failed.public_id]),
        "rollback": reverse("rollback", args=[back.public_id]),
        "instance": reverse("instance", args=[instance.instance_id]),
        "node": reverse("node", args=[node.name]),
        "roll back": f"{service}/roll-back?to={VERSIONS[1]}",
        "deploy": f"/deploy?service={SERVICE}",
        "deploy preview": f"/deploy?service={SERVICE}&to={VERSIONS[2]}",
        "hold": f"{service}/hold",
        "adopt": f"{service}/adopt",
        "search": f"/search?q={SERVICE[:90]}",
        "admin services": "/admin/inventory/service/",
        "admin instances": "/admin/inventory/instance/",
        "admin nodes": "/admin/inventory/node/",
        "admin deploys": "/admin/deploys/deploy/",
        "admin packages": "/admin/deploys/package/",
    }


def seen_on(page: Page) -> list[Any]:
    """With an update of what is live on the page, too."""
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready.then(() => null)")
    return list(page.evaluate(LOOK))


@pytest.mark.parametrize("is_phone", [False, True], ids=["wide", "phone"])
def test_the_longest_names_fit_on_every_page(transactional_db: None, open_page: OpenPage, is_phone: bool) -> None:
    long_fleet()
    page = open_page("admin", phone=is_phone)
    found: dict[str, list[Any]] = {}
    for name, path in pages().items():
        page.goto(path)
        if problems := seen_on(page):
            found[name] = problems
    assert found == {}
