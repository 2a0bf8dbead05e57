"""Bottle, with the routes common to all frameworks of these tests."""

import hashlib
import os
import warnings
import wsgiref.validate

from bottle import Bottle, redirect, request, response, static_file

warnings.simplefilter("error", wsgiref.validate.WSGIWarning)

SECRET = "only for these tests"
app = Bottle()
closed = 0


@app.hook("before_request")
def plain():
    response.content_type = "text/plain; charset=utf-8"


@app.get("/")
def index():
    return "hello, world\n"


@app.get("/form")
def token():
    """Bottle has no protection against forged forms."""
    return ""


@app.post("/form")
def form():
    return "".join(f"{key}={value}\n" for key, value in request.forms.decode().allitems())


@app.post("/upload")
def upload():
    file = request.files["file"]
    content = file.file.read()
    digest = hashlib.sha256(content).hexdigest()
    # The name as the client has sent it; Bottle sanitizes that in `filename`.
    return f"{request.forms.getunicode('note')}\n{file.raw_filename}\n{len(content)}\n{digest}\n"


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


@app.get("/stream")
def stream():
    return Blocks()


@app.get("/closed")
def closed_streams():
    return f"{closed}\n"


@app.get("/redirect")
def redirection():
    redirect("/", 302)


@app.get("/session")
def visits():
    """Bottle has no sessions, but signed cookies."""
    visits = int(request.get_cookie("visits", "0", secret=SECRET)) + 1
    response.set_cookie("visits", str(visits), secret=SECRET)
    return f"{visits}\n"


@app.get("/error")
def error():
    raise RuntimeError("this route always fails")


@app.get("/echo/<word>")
def echo(word):
    return f"{word}\n{request.query.getunicode('q')}\n"


@app.get("/cookies")
def cookies():
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return "two cookies\n"


@app.get("/empty")
def empty():
    response.status = 204


@app.get("/file")
def file():
    folder, name = os.path.split(__file__)
    return static_file(name, root=folder, mimetype="text/plain")


application = wsgiref.validate.validator(app)
