"""Artifacts for nodes that fetch what they install. The signature in the link stands in for a token."""

from __future__ import annotations

from django.http import FileResponse
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.views import APIView

from deploys.packages import store
from deploys.packages.artifact_links import check_link
from deploys.packages.parts import Part, Parts
from deploys.packages.store import PackageStore
from inventory.errors import NotFound


class ArtifactDownload(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None

    def get(self, request: Request, sha256: str) -> FileResponse:
        """The artifact made of the package with this digest, or a part of it, from this host's package store."""
        given = request.query_params
        base = given.get("base", "")
        check_link(sha256, expires=given.get("expires", ""), signature=given.get("signature", ""), base_sha256=base)
        found = _part(sha256, base) if base else store.stored(sha256)
        if found is None:
            raise NotFound(
                _(
                    "This web host's package store does not have it: let web and workers share RELEASE_DATA_DIR/packages."
                ),
                code="artifact_not_here",
            )
        answer = FileResponse(found.path.open("rb"), content_type="application/gzip")
        answer["Cache-Control"] = "private, no-store"
        return answer


def _part(sha256: str, base_sha256: str) -> Part | None:
    return Parts(PackageStore.of_this_host()).stored(sha256, base_sha256)
