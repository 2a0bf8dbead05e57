"""Hints for objects that are not WSGI applications: the probable mistake.

Works on code objects: most applications need no hint, and `inspect` takes longer to import than many of them.
"""

import types

# Names used in tutorials of frameworks.
USUAL_NAMES = ("application", "app", "wsgi_app", "wsgi", "api", "server")
USUAL_FACTORIES = ("create_app", "make_app", "app_factory", "get_wsgi_application", "main")

CO_VARARGS = 0x04
CO_COROUTINE = 0x80
CO_ASYNC_GENERATOR = 0x200


class Signature:
    """Parameters of a callable that is written in Python."""

    def __init__(self, function, is_bound):
        code = function.__code__
        self.flags = code.co_flags
        self.names = code.co_varnames[int(is_bound) : code.co_argcount]
        self.required = len(self.names) - len(function.__defaults__ or ())
        keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.needs_keywords = any(name not in (function.__kwdefaults__ or {}) for name in keywords)

    def takes(self, count):
        enough = self.required <= count and not self.needs_keywords
        return enough and (count <= len(self.names) or bool(self.flags & CO_VARARGS))


def signature_of(value):
    """Returns the signature of a function, method or callable object; None for classes and callables in C."""
    if isinstance(value, type):
        return None
    if isinstance(value, types.FunctionType):
        return Signature(value, False)
    if isinstance(value, types.MethodType):
        function, is_bound = value.__func__, True
    else:
        # Python looks up __call__ in the type, and not in the object.
        call = next((vars(kind)["__call__"] for kind in type(value).__mro__ if "__call__" in vars(kind)), None)
        function, is_bound = getattr(call, "__func__", call), not isinstance(call, staticmethod)
    return Signature(function, is_bound) if isinstance(function, types.FunctionType) else None


def other_callables(module, wanted):
    """Returns a sentence about another callable of a script than the wanted one, or ''."""
    names = dict(vars(module)) if hasattr(module, "__dict__") else {}
    likely = [name for name in USUAL_NAMES if callable(names.get(name))]
    likely += [name for name, value in names.items() if is_application_object(name, value)]
    for name in likely:
        if name != wanted:
            return named(name)
    for name in USUAL_FACTORIES:
        value = names.get(name)
        if name != wanted and callable(value):
            signature = signature_of(value)
            if signature is not None and signature.required == 2:
                return named(name)
            return f'it has a callable "{name}", which may return one: add the line "{wanted} = {name}()"'
    for name, value in names.items():
        if is_class_of_applications(name, value, names.get("__name__")):
            return f'it has a class "{name}", whose instances may be applications: add the line "{wanted} = {name}()"'
    return ""


def named(name):
    return (
        f'it has a callable "{name}": name it after the script, as in "wsgi_pass SCRIPT {name};" of nginx.conf or '
        f'"wsgi-hyper SCRIPT {name}"'
    )


def is_class_of_applications(name, value, module):
    """Returns whether this is a class of the module whose objects are called with environ and start_response."""
    if name.startswith("_") or not isinstance(value, type) or vars(value).get("__module__") != module:
        return False
    call = vars(value).get("__call__")
    return isinstance(call, types.FunctionType) and Signature(call, True).names[:2] == ("environ", "start_response")


def is_application_object(name, value):
    """Returns whether this is an object called with environ and start_response, like those of frameworks."""
    try:
        if name.startswith("_") or not callable(value) or isinstance(value, (types.FunctionType, types.MethodType)):
            return False
        signature = signature_of(value)
    except Exception:
        # For instance a proxy for an object that exists only during a request.
        return False
    return signature is not None and signature.names[:2] == ("environ", "start_response")


ASGI = (
    "is an ASGI application, not a WSGI application: wrap it in a2wsgi.ASGIMiddleware, or run it on an ASGI server behind "
    "proxy_pass"
)


def complaint(application):
    """Returns why a callable object is no WSGI application, or None."""
    signature = signature_of(application)
    if signature is None:
        return None
    # Includes a plain function that returns the coroutine, and ASGI 2, which is called with the scope alone.
    if signature.names[-3:] == ("scope", "receive", "send") or signature.names == ("scope",):
        return ASGI
    if not signature.flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        return None
    return "is a coroutine function (async def), but WSGI needs a plain function; ASGI applications need an ASGI server"


def doubt(application):
    """Returns why a call with environ and start_response will fail according to the signature, or None."""
    signature = signature_of(application)
    if isinstance(application, type) and "__call__" in vars(application) and not hasattr(application, "__iter__"):
        return (
            "is a class whose instances are called with environ and start_response, but cannot be iterated over: add the "
            f'line "application = {application.__name__}()" to the script'
        )
    if signature is None or signature.takes(2):
        return None
    return (
        f"takes ({', '.join(signature.names)}), but is called with environ and start_response: if it returns an "
        'application, add the line "application = ..." with its result to the script'
    )
