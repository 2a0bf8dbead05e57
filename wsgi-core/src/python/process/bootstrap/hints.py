"""What is likely meant where an application is not one.

Done by hand on code objects: most applications are right, and `inspect` takes longer to import than many of them.
"""

import types

# Names that tutorials of frameworks use.
USUAL_NAMES = ("application", "app", "wsgi_app", "wsgi", "api", "server")
USUAL_FACTORIES = ("create_app", "make_app", "app_factory", "get_wsgi_application", "main")

CO_VARARGS = 0x04
CO_COROUTINE = 0x80
CO_ASYNC_GENERATOR = 0x200


class Signature:
    """The parameters of a callable that is written in Python."""

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
    """That of a function, a method or an object that can be called; None for classes and for what is not written in Python."""
    if isinstance(value, type):
        return None
    if isinstance(value, types.FunctionType):
        return Signature(value, False)
    if isinstance(value, types.MethodType):
        function, is_bound = value.__func__, True
    else:
        # Python looks for it in the type, and not in the object.
        call = next((vars(kind)["__call__"] for kind in type(value).__mro__ if "__call__" in vars(kind)), None)
        function, is_bound = getattr(call, "__func__", call), not isinstance(call, staticmethod)
    return Signature(function, is_bound) if isinstance(function, types.FunctionType) else None


def other_callables(module, wanted):
    """Where a script has another callable than the one that is wanted: a sentence about it, or ''."""
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
            return f'it has a callable "{name}", which may make one: add a line "{wanted} = {name}()"'
    for name, value in names.items():
        if is_class_of_applications(name, value, names.get("__name__")):
            return f'it has a class "{name}", whose objects may be applications: add a line "{wanted} = {name}()"'
    return ""


def named(name):
    return (
        f'it has a callable "{name}": name it behind the script, as in "wsgi_pass SCRIPT {name};" of nginx.conf or '
        f'"wsgi-hyper SCRIPT {name}"'
    )


def is_class_of_applications(name, value, module):
    """A class of the module itself whose objects are called with environ and start_response."""
    if name.startswith("_") or not isinstance(value, type) or vars(value).get("__module__") != module:
        return False
    call = vars(value).get("__call__")
    return isinstance(call, types.FunctionType) and Signature(call, True).names[:2] == ("environ", "start_response")


def is_application_object(name, value):
    """An object that is called with environ and start_response, as those of frameworks are."""
    try:
        if name.startswith("_") or not callable(value) or isinstance(value, (types.FunctionType, types.MethodType)):
            return False
        signature = signature_of(value)
    except Exception:
        # A proxy for something that is there during a request only, for one.
        return False
    return signature is not None and signature.names[:2] == ("environ", "start_response")


ASGI = (
    "is an ASGI application, and WSGI is needed here: put a2wsgi.ASGIMiddleware around it, or run it on an ASGI server "
    "behind proxy_pass"
)


def complaint(application):
    """Why an object that can be called is no WSGI application, or None."""
    signature = signature_of(application)
    if signature is None:
        return None
    # Also where a plain function returns the coroutine, and ASGI 2, which is called with the scope alone.
    if signature.names[-3:] == ("scope", "receive", "send") or signature.names == ("scope",):
        return ASGI
    if not signature.flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        return None
    return "is a coroutine function (async def), and WSGI needs a plain one; ASGI applications need an ASGI server"


def doubt(application):
    """Why a call with environ and start_response will fail, as far as a signature tells, or None."""
    signature = signature_of(application)
    if isinstance(application, type) and "__call__" in vars(application) and not hasattr(application, "__iter__"):
        return (
            "is a class, and an application is one of its objects: they can be called, but not iterated over. Add a line "
            f'"application = {application.__name__}()" to the script'
        )
    if signature is None or signature.takes(2):
        return None
    return (
        f"takes ({', '.join(signature.names)}), and is called with environ and start_response: if it makes an application, "
        'add a line "application = ..." with its result to the script'
    )
