"""Flask, with the routes common to all frameworks of these tests."""

import hashlib
import warnings
import wsgiref.validate

from flask import Flask, Response, redirect, request, send_file, session

warnings.simplefilter("error", wsgiref.validate.WSGIWarning)

app = Flask(__name__)
app.secret_key = "only for these tests"
# If wsgi.input_terminated is true, Flask without this limit calls read() without a size. PEP 3333 allows that, but
# wsgiref.validate does not.
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024
closed = 0


def text(body, status=200):
    return Response(body, status=status, content_type="text/plain; charset=utf-8")


@app.get("/")
def index():
    return text("hello, world\n")


@app.get("/form")
def token():
    """Flask has no protection against forged forms."""
    return text("")


@app.post("/form")
def form():
    return text("".join(f"{key}={value}\n" for key, value in request.form.items(multi=True)))


@app.post("/upload")
def upload():
    file = request.files["file"]
    content = file.read()
    return text(f"{request.form['note']}\n{file.filename}\n{len(content)}\n{hashlib.sha256(content).hexdigest()}\n")


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
    return text(Blocks())


@app.get("/closed")
def closed_streams():
    return text(f"{closed}\n")


@app.get("/redirect")
def redirection():
    return redirect("/")


@app.get("/session")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return text(f"{session['visits']}\n")


@app.get("/error")
def error():
    raise RuntimeError("this route always fails")


@app.get("/echo/<word>")
def echo(word):
    return text(f"{word}\n{request.args['q']}\n")


@app.get("/cookies")
def cookies():
    response = text("two cookies\n")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


@app.get("/empty")
def empty():
    # Flask leaves the Content-Type of a page on a 204, which the validator refuses on every server.
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


@app.get("/file")
def file():
    return send_file(__file__, mimetype="text/plain")


application = wsgiref.validate.validator(app)
