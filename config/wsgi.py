"""The web application: `gunicorn config.wsgi`. See deploy/ for how many processes of which pool."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from config.embedded.lease import ensure_database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
ensure_database(["gunicorn"])
application = get_wsgi_application()
