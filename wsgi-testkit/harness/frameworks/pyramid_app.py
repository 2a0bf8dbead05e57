"""Pyramid, with the routes common to all frameworks of these tests."""

import hashlib
import warnings
import wsgiref.validate

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNoContent
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory

warnings.simplefilter("error", wsgiref.validate.WSGIWarning)

closed = 0


def text(body):
    return Response(body, content_type="text/plain", charset="utf-8")


def index(request):
    return text("hello, world\n")


def token(request):
    """Returns the token that a POST must contain."""
    return text(request.session.get_csrf_token())


def form(request):
    return text("".join(f"{key}={value}\n" for key, value in request.POST.items()))


def upload(request):
    file = request.POST["file"]
    content = file.file.read()
    digest = hashlib.sha256(content).hexdigest()
    return text(f"{request.POST['note']}\n{file.filename}\n{len(content)}\n{digest}\n")


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


def stream(request):
    return Response(app_iter=Blocks(), content_type="text/plain", charset="utf-8")


def closed_streams(request):
    return text(f"{closed}\n")


def redirection(request):
    return HTTPFound("/")


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return text(f"{request.session['visits']}\n")


def error(request):
    """Pyramid has no page for exceptions: the server gets this one."""
    raise RuntimeError("this route always fails")


def echo(request):
    return text(f"{request.matchdict['word']}\n{request.GET['q']}\n")


def cookies(request):
    response = text("two cookies\n")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


def empty(request):
    return HTTPNoContent()


def file(request):
    response = FileResponse(__file__, request=request, content_type="text/plain")
    response.conditional_response = True
    return response


ROUTES = [
    ("/", "GET", index),
    ("/form", "GET", token),
    ("/form", "POST", form),
    ("/upload", "POST", upload),
    ("/stream", "GET", stream),
    ("/closed", "GET", closed_streams),
    ("/redirect", "GET", redirection),
    ("/session", "GET", visits),
    ("/error", "GET", error),
    ("/echo/{word}", "GET", echo),
    ("/cookies", "GET", cookies),
    ("/empty", "GET", empty),
    ("/file", "GET", file),
]

with Configurator() as config:
    config.set_session_factory(SignedCookieSessionFactory("only for these tests"))
    config.set_default_csrf_options(require_csrf=True, header="X-CSRFToken")
    for pattern in dict.fromkeys(pattern for pattern, _, _ in ROUTES):
        config.add_route(pattern, pattern)
    for pattern, method, view in ROUTES:
        config.add_view(view, route_name=pattern, request_method=method)
    application = wsgiref.validate.validator(config.make_wsgi_app())
