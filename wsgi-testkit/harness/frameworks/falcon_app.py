"""Falcon, with the routes common to all frameworks of these tests."""

import hashlib
import os
import warnings
import wsgiref.validate
from datetime import datetime, timezone

import falcon

warnings.simplefilter("error", wsgiref.validate.WSGIWarning)

closed = 0


class Index:
    def on_get(self, request, response):
        response.text = "hello, world\n"

    on_head = on_get


class Form:
    def on_get(self, request, response):
        """Falcon has no protection against forged forms."""
        response.text = ""

    def on_post(self, request, response):
        fields = request.get_media()
        lists = ((key, value if isinstance(value, list) else [value]) for key, value in fields.items())
        response.text = "".join(f"{key}={value}\n" for key, values in lists for value in values)


class Upload:
    def on_post(self, request, response):
        note = None
        for part in request.get_media():
            if part.name == "file":
                name, content = part.filename, part.stream.read()
            else:
                note = part.text
        response.text = f"{note}\n{name}\n{len(content)}\n{hashlib.sha256(content).hexdigest()}\n"


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


class Stream:
    def on_get(self, request, response):
        response.stream = Blocks()


class Closed:
    def on_get(self, request, response):
        response.text = f"{closed}\n"


class Redirect:
    def on_get(self, request, response):
        raise falcon.HTTPFound("/")


class Session:
    def on_get(self, request, response):
        """Falcon has cookies, but no sessions."""
        visits = int(request.cookies.get("visits", "0")) + 1
        response.set_cookie("visits", str(visits), secure=False)
        response.text = f"{visits}\n"


class Error:
    def on_get(self, request, response):
        raise RuntimeError("this route always fails")


class Echo:
    def on_get(self, request, response, word):
        response.text = f"{word}\n{request.get_param('q', required=True)}\n"


class Cookies:
    def on_get(self, request, response):
        response.set_cookie("first", "1", secure=False)
        response.set_cookie("second", "2", secure=False)
        response.text = "two cookies\n"


class Empty:
    def on_get(self, request, response):
        response.status = falcon.HTTP_204


class File:
    def on_get(self, request, response):
        modified = datetime.fromtimestamp(int(os.path.getmtime(__file__)), timezone.utc)
        response.last_modified = modified
        if request.if_modified_since and modified <= request.if_modified_since:
            response.status = falcon.HTTP_304
            return
        # Falcon passes a file to wsgi.file_wrapper.
        response.set_stream(open(__file__, "rb"), os.path.getsize(__file__))

    on_head = on_get


app = falcon.App(media_type=falcon.MEDIA_TEXT)
app.add_route("/", Index())
app.add_route("/form", Form())
app.add_route("/upload", Upload())
app.add_route("/stream", Stream())
app.add_route("/closed", Closed())
app.add_route("/redirect", Redirect())
app.add_route("/session", Session())
app.add_route("/error", Error())
app.add_route("/echo/{word}", Echo())
app.add_route("/cookies", Cookies())
app.add_route("/empty", Empty())
app.add_route("/file", File())
application = wsgiref.validate.validator(app)
