"""The web application: `gunicorn config.wsgi`. See deploy/ for how many processes of which pool."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from config.embedded.lease import ensure_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
ensure_database(["gunicorn"])
application = get_wsgi_application()
# What is loaded by now stays. A request makes thousands of small values that end with it; looking through all that is
# loaded every few requests costs one in twenty of them as much again as the request itself (docs/speed.md).
get_resolver().url_patterns  # noqa: B018 (loads the views)
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)
