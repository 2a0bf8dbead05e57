//! Generates the bindings with bindgen, and asserts that they agree with the C compiler.
//!
//! Two programs read the headers: the compiler that nginx is built with, and libclang. If they disagree, or bindgen
//! places a field wrongly, a module builds and loads but accesses wrong memory. `bindings.rs` therefore compares each
//! field of `interface.rs` with the offset that the C compiler has reported, when rustc compiles it.

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use bindgen::callbacks::{FieldInfo, ParseCallbacks};
use bindgen::{FieldVisibilityKind, Formatter, RustTarget};
use syn::visit::{self, Visit};

use crate::interface::{CONDITIONAL, FUNCTIONS, STRUCTURES, TYPES, VARIABLES};
use crate::layout::{Field, Layout};
use crate::source::Source;

pub(crate) fn write(source: &Source, layout: &Layout, folder: &Path) -> Result<(), String> {
    let mut text = bindings(source)?;
    let bits = bit_fields(&text)?;
    for (name, kind, value) in &layout.constants {
        writeln!(text, "pub(crate) const {name}: {kind} = {value};").expect("a String can be written to");
    }
    text += &comparison(layout, &bits)?;
    let path = folder.join("bindings.rs");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn bindings(source: &Source) -> Result<String, String> {
    let oldest_rust: RustTarget = env!("CARGO_PKG_RUST_VERSION").parse().map_err(|error| format!("{error}"))?;
    let mut builder = bindgen::builder()
        .header_contents("headers.h", include_str!("headers.h"))
        .clang_args(source.makefile.for_libclang(&source.folder))
        .rust_target(oldest_rust)
        .use_core()
        .formatter(Formatter::None)
        .layout_tests(false)
        .derive_debug(false)
        .default_visibility(FieldVisibilityKind::Private)
        .parse_callbacks(Box::new(Visibility));
    for structure in STRUCTURES {
        builder = builder.allowlist_type(structure.name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    let unreadable = |reason: &str| {
        let line = reason.trim().lines().next().unwrap_or_default();
        format!("libclang cannot read the headers of nginx in {}: {line}", source.folder.display())
    };
    let bindings = without_panic(|| builder.generate())
        .map_err(
            |panic| if panic.starts_with("Unable to find libclang") { missing_libclang() } else { unreadable(&panic) },
        )?
        .map_err(|error| unreadable(&error.to_string()))?;
    Ok(bindings.to_string())
}

fn missing_libclang() -> String {
    let place = env::var("LIBCLANG_PATH").map(|folder| format!(" in LIBCLANG_PATH={folder}")).unwrap_or_default();
    format!(
        "no libclang that can be loaded was found{place}: install it (on Debian: apt-get install libclang-dev), or set \
         LIBCLANG_PATH to the folder that holds libclang.so"
    )
}

/// Calls bindgen, which panics when libclang fails. Returns the message of the panic, and prints nothing.
fn without_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    panic::set_hook(hook);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or("bindgen has panicked").to_owned(),
    })
}

/// Makes the fields of `interface.rs` visible to the rest of the crate, and no others.
#[derive(Debug)]
struct Visibility;

impl ParseCallbacks for Visibility {
    fn field_visibility(&self, field: FieldInfo<'_>) -> Option<FieldVisibilityKind> {
        let (structure, field) = (name_of(field.type_name), field.field_name);
        let is_listed = STRUCTURES.iter().any(|listed| {
            listed.name == structure && listed.fields().chain(listed.bits()).any(|name| in_rust(name) == field)
        }) || CONDITIONAL.iter().any(|(owner, name, _)| *owner == structure && *name == field);
        is_listed.then_some(FieldVisibilityKind::PublicCrate)
    }
}

/// Returns nginx's name of a structure: `ngx_http_request_t` for the tag `ngx_http_request_s`.
fn name_of(tag: &str) -> String {
    tag.strip_suffix("_s").map_or_else(|| tag.to_owned(), |stem| format!("{stem}_t"))
}

/// Returns a field's name in the bindings.
fn in_rust(field: &str) -> &str {
    if field == "type" { "type_" } else { field }
}

/// Location of a bit-field in the bindings: the field that holds it, and its bits there.
#[derive(Clone, Default, PartialEq)]
struct Bits {
    unit: String,
    offset: usize,
    width: usize,
}

/// Finds the bit-fields of all structures in the functions that read and write them. All functions of one bit-field
/// must use the same bits.
fn bit_fields(text: &str) -> Result<HashMap<(String, String), Bits>, String> {
    let file = syn::parse_file(text).map_err(|error| format!("the bindings are not Rust: {error}"))?;
    let mut found: HashMap<(String, String), Bits> = HashMap::new();
    for item in &file.items {
        let syn::Item::Impl(item) = item else { continue };
        let syn::Type::Path(structure) = &*item.self_ty else { continue };
        let Some(structure) = structure.path.get_ident() else { continue };
        let name = name_of(&structure.to_string());
        for function in &item.items {
            let syn::ImplItem::Fn(function) = function else { continue };
            let accessor = function.sig.ident.to_string();
            let field = accessor.strip_prefix("set_").unwrap_or(&accessor);
            let field = field.strip_suffix("_raw").unwrap_or(field);
            let mut search = Search::default();
            search.visit_block(&function.block);
            let [bits] = search.found.as_slice() else { continue };
            let bits = Bits { unit: search.unit, ..bits.clone() };
            let known = found.entry((name.clone(), field.to_owned())).or_insert_with(|| bits.clone());
            if *known != bits {
                return Err(format!("the bindings read {name}.{field} from other bits than they write it to"));
            }
        }
    }
    Ok(found)
}

/// Searches for `_bitfield_1` and `::<107usize, 1u8>`.
#[derive(Default)]
struct Search {
    unit: String,
    found: Vec<Bits>,
}

impl Search {
    fn take_unit(&mut self, name: &str) {
        if name.starts_with("_bitfield_") {
            name.clone_into(&mut self.unit);
        }
    }
}

impl<'a> Visit<'a> for Search {
    fn visit_member(&mut self, member: &'a syn::Member) {
        if let syn::Member::Named(name) = member {
            self.take_unit(&name.to_string());
        }
    }

    /// Finds the name in `addr_of!((*this)._bitfield_1)`.
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        call.tokens.to_string().split(|c: char| !c.is_alphanumeric() && c != '_').for_each(|word| self.take_unit(word));
    }

    fn visit_angle_bracketed_generic_arguments(&mut self, arguments: &'a syn::AngleBracketedGenericArguments) {
        let numbers: Vec<usize> = arguments.args.iter().filter_map(number).collect();
        if let [offset, width] = numbers[..] {
            self.found.push(Bits { unit: String::new(), offset, width });
        }
        visit::visit_angle_bracketed_generic_arguments(self, arguments);
    }
}

fn number(argument: &syn::GenericArgument) -> Option<usize> {
    let syn::GenericArgument::Const(syn::Expr::Lit(literal)) = argument else { return None };
    let syn::Lit::Int(number) = &literal.lit else { return None };
    number.base10_parse().ok()
}

/// Returns a constant that compares sizes and offsets in Rust with those in C: the build fails at the first difference.
fn comparison(layout: &Layout, bits: &HashMap<(String, String), Bits>) -> Result<String, String> {
    let mut rows = String::new();
    let mut compare = |item: &str,
                       (offset_in_rust, width_in_rust): (String, String),
                       (offset, width): (usize, usize)| {
        let sentence = format!(
            "{item} of {} has {width} bits from bit {offset} on for the C compiler, and other bits in the bindings: a \
             module built with them would be wrong, build it with another version of libclang (LIBCLANG_PATH), or without the options \
             in nginx's Makefile that libclang does not know",
            layout.version
        );
        let row = format!("    (({offset_in_rust}, {width_in_rust}), ({offset}, {width}), {sentence:?}),\n");
        rows.push_str(&row);
    };
    for Field { structure, name, offset, width, is_bits } in &layout.fields {
        let in_rust = if *is_bits {
            let Bits { unit, offset, width } = bits
                .get(&(structure.clone(), name.clone()))
                .ok_or_else(|| format!("the bindings have no bits for {structure}.{name}"))?;
            (format!("8 * offset_of!({structure}, {unit}) + {offset}"), width.to_string())
        } else {
            let field = in_rust(name);
            (format!("8 * offset_of!({structure}, {field})"), format!("width(|it: &{structure}| &it.{field})"))
        };
        compare(&format!("{structure}.{name}"), in_rust, (*offset, *width));
    }
    for (structure, size) in &layout.sizes {
        compare(structure, ("0".to_owned(), format!("8 * size_of::<{structure}>()")), (0, *size));
    }
    Ok(format!(
        "const _: () = {{
    use ::core::mem::{{offset_of, size_of}};
    const fn width<S, F>(_: fn(&S) -> &F) -> usize {{ 8 * size_of::<F>() }}
    const ROWS: &[((usize, usize), (usize, usize), &str)] = &[
{rows}    ];
    let mut at = 0;
    while at < ROWS.len() {{
        let ((rust_offset, rust_width), (offset, width), sentence) = ROWS[at];
        assert!(rust_offset == offset && rust_width == width, \"{{}}\", sentence);
        at += 1;
    }}
}};
"
    ))
}
