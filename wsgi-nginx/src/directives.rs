//! Parses nginx's configuration into the settings of the core, with one callback for all directives.
//!
//! The table of directives, their rules and their messages are in [`wsgi_core::config`]. This file compiles values that
//! may contain nginx variables, and sets the content handler.

use std::ffi::{c_char, c_void};

use wsgi_core::config::{Context, DIRECTIVES, Directive, Scope};
use wsgi_core::host::Level;

use crate::bindings::{
    NGX_HTTP_LIF_CONF, NGX_HTTP_LMT_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF,
    NGX_HTTP_SRV_CONF, ngx_array_push, ngx_command_t, ngx_conf_t, ngx_hash_key_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_module, ngx_http_variable_t, ngx_str_t, ngx_uint_t,
};
use crate::conf::{self, ContentHandler, LocationConf, Reference};
use crate::guard::guard;
use crate::listeners::Addresses;
use crate::{handler, load, ngx, temporary};

/// Entries of nginx's table: one for each directive, and the terminator.
pub(crate) const COMMANDS: usize = DIRECTIVES.len() + 1;

/// Builds nginx's table of directives from the core's.
pub(crate) const fn commands() -> [ngx_command_t; COMMANDS] {
    let mut commands = [const { ngx_command_t::empty() }; COMMANDS];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        commands[index] = command(index, &DIRECTIVES[index]);
        index += 1;
    }
    commands
}

/// Directive names as C strings: nginx compares them with `strcmp`.
static NAMES: [[u8; 48]; DIRECTIVES.len()] = {
    let mut names = [[0; 48]; DIRECTIVES.len()];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        let name = DIRECTIVES[index].name.as_bytes();
        let mut at = 0;
        while at < name.len() {
            names[index][at] = name[at];
            at += 1;
        }
        assert!(at < names[index].len(), "room for the NUL");
        index += 1;
    }
    names
};

const fn command(index: usize, directive: &Directive) -> ngx_command_t {
    let mut kind = 0;
    let contexts = [
        (Context::Http, NGX_HTTP_MAIN_CONF),
        (Context::Server, NGX_HTTP_SRV_CONF),
        (Context::Location, NGX_HTTP_LOC_CONF),
        (Context::IfInLocation, NGX_HTTP_LIF_CONF),
        (Context::LimitExcept, NGX_HTTP_LMT_CONF),
    ];
    let mut at = 0;
    while at < contexts.len() {
        if directive.contexts.contains(contexts[at].0) {
            kind |= contexts[at].1;
        }
        at += 1;
    }
    // `NGX_CONF_NOARGS` is bit 0, `NGX_CONF_TAKE1` is bit 1, and so on.
    let mut count = *directive.arguments.start();
    while count <= *directive.arguments.end() {
        kind |= 1 << count;
        count += 1;
    }
    ngx_command_t {
        name: ngx_str_t { len: directive.name.len(), data: NAMES[index].as_ptr().cast_mut() },
        type_: kind as ngx_uint_t,
        set: Some(set_directive),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: index,
        post: std::ptr::null_mut(),
    }
}

/// The `set` of every directive.
unsafe extern "C" fn set_directive(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    level: *mut c_void,
) -> *mut c_char {
    guard("set_directive", ngx::CONF_ERROR, || {
        // SAFETY: nginx passes an entry of our table and the record that `conf::create` has made for the level.
        let is_taken = unsafe { set(&mut *cf, &DIRECTIVES[(*command).offset], &mut *level.cast()) };
        if is_taken { ngx::CONF_OK } else { ngx::CONF_ERROR }
    })
}

/// Applies one directive. Returns false after the error has been logged.
fn set(cf: &mut ngx_conf_t, directive: &Directive, level: &mut LocationConf) -> bool {
    let words = cf.words();
    // SAFETY: the words of the file live as long as the configuration.
    let arguments: Vec<&[u8]> = words[1..].iter().map(|word| unsafe { ngx::bytes(word) }).collect();
    let (context, place, prefix) = (context(cf), cf.place(), cf.prefix());
    let main = conf::main_in(cf);
    let mut scope = Scope::new(&mut level.settings, &mut main.process, context, place, &prefix);
    let result = directive.apply(&mut scope, &arguments);
    for notice in scope.notices {
        cf.log(notice.level, &notice.text);
    }
    if let Err(error) = result {
        cf.log(Level::Emerg, &error.to_string());
        return false;
    }
    let known = conf::main_in(cf).values.len();
    // A directive that adds a variable has two arguments.
    if level.settings.variables.iter().any(|variable| variable.number == known) && !add_value(cf, words[2]) {
        return false;
    }
    match directive.name {
        "wsgi_pass" => serve(cf.core_location()),
        "wsgi_temp_path" => {
            return temporary::register(cf, level.settings.temp_path.as_ref(), temporary::Origin::Here);
        }
        _ => {}
    }
    true
}

/// Compiles the value of the variable that was just added. Returns false if it is invalid, which nginx has logged, or
/// if there is no memory.
fn add_value(cf: &mut ngx_conf_t, mut text: ngx_str_t) -> bool {
    let value: *mut ngx_http_complex_value_t = cf.zeroed();
    if value.is_null() {
        return false;
    }
    // SAFETY: all fields are numbers, bit flags or pointers that may be null.
    let mut request: ngx_http_compile_complex_value_t = unsafe { std::mem::zeroed() };
    (request.cf, request.value, request.complex_value) = (&raw mut *cf, &raw mut text, value);
    // SAFETY: the request is complete; the value and the words live as long as the configuration.
    if unsafe { ngx_http_compile_complex_value(&raw mut request) } != ngx::OK {
        return false;
    }
    let place = cf.place();
    let main = conf::main_in(cf);
    main.values.push(value);
    main.references.push(Reference { text, place });
    true
}

/// Sets the content handler of a location.
fn serve(core: &mut ngx_http_core_loc_conf_t) {
    core.handler = Some(handler::content_handler);
    // SAFETY: the location's name lives as long as the configuration.
    if unsafe { ngx::bytes(&core.name) }.ends_with(b"/") {
        core.set_auto_redirect(1);
    }
}

/// Checks conditions that depend on the whole configuration, at the end of the `http` block. Returns false after the
/// error has been logged.
pub(crate) fn check(cf: &mut ngx_conf_t) -> bool {
    let main = conf::main_in(cf);
    let (references, checked) = (std::mem::take(&mut main.references), main.process.check());
    for reference in &references {
        // SAFETY: the words of the file live as long as the configuration.
        let text = unsafe { ngx::bytes(&reference.text) };
        let unknown: Vec<_> = names_in(text).filter(|name| !is_variable(cf.core_main(), name)).collect();
        for name in unknown {
            let name = String::from_utf8_lossy(name);
            cf.log(Level::Warn, &format!("\"wsgi_var\" in {} uses \"${name}\", which is not known", reference.place));
        }
    }
    share_load(cf);
    if let Err(error) = &checked {
        cf.log(Level::Emerg, &error.to_string());
    }
    checked.is_ok()
}

/// Prepares for workers that share their load, if there are applications.
fn share_load(cf: &mut ngx_conf_t) {
    let main = conf::main_in(cf);
    if main.locations.is_empty() || !main.process.shares_load() {
        return;
    }
    let servers = std::mem::take(&mut main.servers);
    conf::main_in(cf).addresses = Addresses::of(&servers, cf.core_main());
    // SAFETY: the phases are complete except for their handlers, and nginx's array takes a pointer to a function.
    unsafe {
        let phases = &raw mut (*ngx::parsed_main(cf, &raw const ngx_http_core_module)
            .cast::<ngx_http_core_main_conf_t>())
        .phases;
        let handler: *mut ContentHandler = ngx_array_push(&raw mut (*phases)[POST_READ_PHASE].handlers).cast();
        if !handler.is_null() {
            *handler = load::arrivals::request_known;
        }
    }
}

/// `NGX_HTTP_POST_READ_PHASE`.
const POST_READ_PHASE: usize = 0;

/// Returns the names of the variables in a value, without captures, whose names are numbers.
fn names_in(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b'$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(b"{").unwrap_or(rest);
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
        let name = &rest[..end];
        name.first().is_some_and(|byte| !byte.is_ascii_digit()).then_some(name)
    })
}

/// Whether a module or the configuration has defined a variable. nginx checks this later, and its message has no file
/// and line.
fn is_variable(core: &ngx_http_core_main_conf_t, name: &[u8]) -> bool {
    // SAFETY: until the end of the block nginx keeps a list of all names, in lower case, and of prefixes.
    let (keys, prefixes) = unsafe {
        (
            (*core.variables_keys).keys.as_slice::<ngx_hash_key_t>(),
            core.prefix_variables.as_slice::<ngx_http_variable_t>(),
        )
    };
    // SAFETY: the strings of the configuration live as long as the configuration.
    let text = |text: &ngx_str_t| unsafe { ngx::bytes(text) };
    keys.iter().any(|key| text(&key.key).eq_ignore_ascii_case(name))
        || prefixes.iter().any(|prefix| {
            let prefix = text(&prefix.name);
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

fn context(cf: &ngx_conf_t) -> Context {
    match cf.cmd_type {
        NGX_HTTP_MAIN_CONF => Context::Http,
        NGX_HTTP_SRV_CONF => Context::Server,
        NGX_HTTP_LIF_CONF => Context::IfInLocation,
        NGX_HTTP_LMT_CONF => Context::LimitExcept,
        _ => Context::Location,
    }
}
