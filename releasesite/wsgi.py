from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from releasesite.bodies import WholeBodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "releasesite.settings")

application = WholeBodies(get_wsgi_application())
