"""Django in one file, with the routes common to all frameworks of these tests."""

import hashlib
import os
import warnings
import wsgiref.validate
from datetime import datetime, timezone

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.http import last_modified, require_GET, require_POST, require_safe

warnings.simplefilter("error", wsgiref.validate.WSGIWarning)

settings.configure(
    SECRET_KEY="only for these tests",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    # Without DEBUG Django reports errors by mail only.
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"log": {"class": "logging.StreamHandler", "level": "ERROR"}},
        "loggers": {"django.request": {"handlers": ["log"]}},
    },
)
closed = 0


def text(body, status=200):
    return HttpResponse(body, status=status, content_type="text/plain; charset=utf-8")


@require_safe
def index(request):
    return text("hello, world\n")


def form(request):
    """Returns the token that a POST must contain; for a POST, its fields."""
    if request.method != "POST":
        return text(get_token(request))
    return text("".join(f"{key}={value}\n" for key, values in request.POST.lists() for value in values))


@require_POST
def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return text(f"{request.POST['note']}\n{file.name}\n{file.size}\n{digest.hexdigest()}\n")


class Blocks:
    """An iterator that counts calls of close()."""

    def __init__(self):
        self.numbers = iter(range(50))

    def __iter__(self):
        return self

    def __next__(self):
        return b"%03d\n" % next(self.numbers) * 1000

    def close(self):
        global closed
        closed += 1


@require_GET
def stream(request):
    return StreamingHttpResponse(Blocks(), content_type="text/plain; charset=utf-8")


@require_GET
def closed_streams(request):
    return text(f"{closed}\n")


@require_GET
def redirection(request):
    return HttpResponseRedirect("/")


@require_GET
def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return text(f"{request.session['visits']}\n")


@require_GET
def error(request):
    raise RuntimeError("this route always fails")


@require_GET
def echo(request, word):
    return text(f"{word}\n{request.GET['q']}\n")


@require_GET
def cookies(request):
    response = text("two cookies\n")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


@require_GET
def empty(request):
    # Django leaves the Content-Type of a page on a 204, which the validator refuses on every server.
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return response


@require_safe
@last_modified(lambda request: datetime.fromtimestamp(os.path.getmtime(__file__), timezone.utc))
def file(request):
    return FileResponse(open(__file__, "rb"), content_type="text/plain")


urlpatterns = [
    path("", index),
    path("form", form),
    path("upload", upload),
    path("stream", stream),
    path("closed", closed_streams),
    path("redirect", redirection),
    path("session", visits),
    path("error", error),
    path("echo/<word>", echo),
    path("cookies", cookies),
    path("empty", empty),
    path("file", file),
]
application = wsgiref.validate.validator(get_wsgi_application())
