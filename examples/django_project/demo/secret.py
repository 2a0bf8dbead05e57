"""A secret that is created once and kept in a file that only its owner can read."""

import os
import secrets
import tempfile


def secret_from(path, length=50):
    """Returns the content of the file, created from `length` random bytes if missing. Workers may call it at once."""
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(length))
        # Unlike a rename, a link does not replace a file that another worker has created meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
    return path.read_text()
