"""The WSGI callable, as Django's own `startproject` writes it: `wsgi_pass demo.wsgi;`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

application = get_wsgi_application()
