"""A form for a file, and its handler: shows size and SHA-256 of the received file, of any size.

`curl --data-binary @FILE http://127.0.0.1:8000/` sends a file as it is, `curl -F file=@FILE ...` as the form does.
"""

import hashlib
import re
from html import escape

BLOCK = 64 * 1024
# Limit of the head of a form's field, which is the only part that is kept in memory.
HEAD_LIMIT = 8 * 1024

FORM = """<!doctype html>
<title>Upload</title>
<h1>Upload a file</h1>
<form method="post" enctype="multipart/form-data">
  <input type="file" name="file" required>
  <button>Send</button>
</form>
"""


def application(environ, start_response):
    method = environ["REQUEST_METHOD"]
    if method in ("GET", "HEAD"):
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [FORM.encode()]
    if method not in ("POST", "PUT"):
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD, POST, PUT"), ("Content-Type", "text/plain")])
        return [b"GET the form, POST or PUT a file\n"]

    try:
        name, blocks = received(environ)
        size, digest = 0, hashlib.sha256()
        for block in blocks:
            size += len(block)
            digest.update(block)
    except ValueError as error:
        start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{error}\n".encode()]
    text = f"{size} bytes, SHA-256 {digest.hexdigest()}\n"
    if name is None:
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode()]
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [f"<!doctype html>\n<title>Received</title>\n<p>{escape(name)}: {text}<p><a href=''>Another</a>\n".encode()]


def received(environ):
    """Returns the name of the file, None for a bare body, and its content in blocks."""
    body = body_blocks(environ)
    content_type = environ.get("CONTENT_TYPE", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return None, body
    boundary = re.search(r'boundary="?([^";]+)"?', content_type, re.IGNORECASE)
    if boundary is None:
        raise ValueError("the form has no boundary")
    return first_file(body, b"--" + boundary[1].encode("latin-1"))


def body_blocks(environ):
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        left = None
    else:
        # Other servers may block forever beyond the end of the body.
        left = int(environ.get("CONTENT_LENGTH") or 0)
    while left is None or left > 0:
        block = stream.read(BLOCK if left is None else min(BLOCK, left))
        if not block:
            break
        if left is not None:
            left -= len(block)
        yield block


def first_file(body, delimiter):
    """Returns the file name of the form's one field (RFC 7578), and its content up to the next delimiter."""
    buffer = b""
    for block in body:
        buffer += block
        if b"\r\n\r\n" in buffer or len(buffer) > HEAD_LIMIT:
            break
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator or not head.startswith(delimiter):
        raise ValueError("the form is malformed")
    name = re.search(rb'filename="([^"]*)"', head)
    if name is None:
        raise ValueError("the form has no file")
    return name[1].decode("utf-8", "replace"), until(rest, body, b"\r\n" + delimiter)


def until(rest, body, end):
    while True:
        content, found, _ = rest.partition(end)
        if found:
            yield content
            for _ in body:
                pass
            return
        # The delimiter may be split between two blocks.
        keep = len(end) - 1
        yield rest[:-keep]
        rest = rest[-keep:]
        block = next(body, None)
        if block is None:
            raise ValueError("the form ends too early")
        rest += block


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", 8000, application).serve_forever()
