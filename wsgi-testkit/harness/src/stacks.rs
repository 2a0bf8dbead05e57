//! Recursions that need enough stack, for the tests of all hosts.
//!
//! A recursion that ends with `RecursionError` on a thread of Python must end in the same way on the thread of a request. If
//! the stack is too small for that, the process crashes.

/// The application; its docstring describes it.
pub const APPLICATION: &str = include_str!("stacks/application.py");

/// Inverts matrices with numpy and scipy, and answers "right" if they are inverses. OpenBLAS, which does the work, needs more
/// than 2 MiB of the caller's stack as soon as it uses two threads (`OPENBLAS_NUM_THREADS`).
pub const NUMERICS: &str = r#"
import numpy
import scipy.linalg

def application(environ, start_response):
    matrix = numpy.random.default_rng(1).random((400, 400))
    one = numpy.eye(400)
    inverses = numpy.linalg.inv(matrix), scipy.linalg.inv(matrix), numpy.linalg.solve(matrix, one)
    right = all(numpy.allclose(inverse @ matrix, one) for inverse in inverses)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"right" if right else b"wrong"]
"#;

/// The recursion limits that shapes are tested with, Python's default first.
pub const RECURSION_LIMITS: [u32; 3] = [1000, 3000, 10_000];

/// The stack in KiB (`ulimit -s`) that most threads of Python have, which is enough for all shapes but [`LARGE`].
pub const USUAL_LIMIT: u32 = 8 << 10;

/// A limit in KiB that is enough for [`LARGE`].
pub const LARGE_LIMIT: u32 = 64 << 10;

/// Shapes that keep 2 KiB and more of temporary items on the stack at each level: at a recursion limit of 10,000 (in Python
/// 3.13 of 3000) a thread of Python with a stack of 8 MiB crashes, too.
pub const LARGE: [&str; 2] = ["sorted_key", "sort_method"];

/// The names of the other shapes.
pub const SHAPES: [&str; 43] = [
    "add",
    "cached_call",
    "call",
    "class_property",
    "compile_attributes",
    "compile_unary",
    "contains",
    "deepcopy",
    "default_factory",
    "destructors",
    "eq",
    "eq_lists",
    "eval_sum",
    "filter_function",
    "format",
    "free_lists",
    "getattr",
    "getitem",
    "hash",
    "isinstance",
    "json_default",
    "json_dumps",
    "json_hook",
    "json_loads",
    "len",
    "literal_eval",
    "map_function",
    "max",
    "max_key",
    "missing_key",
    "parse_calls",
    "partial_call",
    "pickle_dumps",
    "pickle_reduce",
    "plain_calls",
    "reduce_function",
    "repr",
    "repr_lists",
    "starmap",
    "str",
    "substitution",
    "xml",
    "yield_from",
];
