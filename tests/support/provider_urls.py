"""The routes as they are where an identity provider is configured: a test's settings come after `page_urls` was imported."""

from __future__ import annotations

from releasesite import urls
from releasesite.login.oidc import urls as oidc_urls

handler400, handler500 = urls.handler400, urls.handler500
urlpatterns = [*oidc_urls.urlpatterns, *urls.urlpatterns]
