"""Flask with templates, a form, cookies and a JSON route."""

import os
import sys

from flask import Flask, jsonify, redirect, render_template, request, url_for

app = Flask(__name__)

COLOURS = ["steelblue", "seagreen", "tomato"]
COOKIE_AGE = 30 * 24 * 3600


@app.get("/")
def index():
    name = request.cookies.get("name")
    colour = request.cookies.get("colour")
    return render_template("index.html", name=name, colour=colour if colour in COLOURS else COLOURS[0], colours=COLOURS)


@app.post("/")
def remember():
    name = request.form.get("name", "").strip()
    if not name or len(name) > 50:
        return render_template("index.html", colour=COLOURS[0], colours=COLOURS, error="A name, please."), 400
    response = redirect(url_for("index"), code=303)
    response.set_cookie("name", name, max_age=COOKIE_AGE, httponly=True, samesite="Lax")
    response.set_cookie("colour", request.form.get("colour", COLOURS[0]), max_age=COOKIE_AGE, samesite="Lax")
    return response


@app.post("/forget")
def forget():
    response = redirect(url_for("index"), code=303)
    response.delete_cookie("name", httponly=True, samesite="Lax")
    response.delete_cookie("colour", samesite="Lax")
    return response


@app.route("/api/request", methods=["GET", "POST", "PUT"])
def api_request():
    """Returns the request as the application sees it, and where it runs."""
    return jsonify(
        method=request.method,
        path=request.path,
        script_name=request.script_root,
        arguments=request.args.to_dict(flat=False),
        json=request.get_json(silent=True),
        peer=request.remote_addr,
        worker=os.getpid(),
        python=sys.version.split()[0],
        prefix=sys.prefix,
        multithread=request.environ["wsgi.multithread"],
        multiprocess=request.environ["wsgi.multiprocess"],
    )


@app.get("/api/fail")
def api_fail():
    """Raises an exception: the client gets Flask's 500, the traceback goes to nginx's error log."""
    raise RuntimeError("this route always fails")


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", 8000, app).serve_forever()
