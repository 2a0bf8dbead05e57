//! From nginx's configuration file to the settings of the core: one callback for all directives.
//!
//! The table of directives, their rules and their messages stand in [`wsgi_core::config`]; here values are compiled
//! that may hold nginx variables, and the content handler is set.

use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsgi_core::config::{Context, DIRECTIVES, Directive, Place, Scope};
use wsgi_core::host::Level;

use crate::bindings::{
    NGX_HTTP_LIF_CONF, NGX_HTTP_LMT_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF,
    NGX_HTTP_SRV_CONF, ngx_command_t, ngx_conf_log_error, ngx_conf_t, ngx_hash_key_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t, ngx_http_core_module,
    ngx_http_variable_t, ngx_log_stderr, ngx_quiet_mode, ngx_str_t, ngx_test_config, ngx_uint_t,
};
use crate::conf::{self, LocationConf, MainConf, Reference};
use crate::guard::guard;
use crate::{handler, log, ngx, temporary};

/// Entries of nginx's table: one for each directive, and the end.
pub(crate) const COMMANDS: usize = DIRECTIVES.len() + 1;

/// nginx's table, made from the core's.
pub(crate) const fn commands() -> [ngx_command_t; COMMANDS] {
    let mut commands = [const { ngx_command_t::empty() }; COMMANDS];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        commands[index] = command(index, &DIRECTIVES[index]);
        index += 1;
    }
    commands
}

/// Names as C strings: nginx looks them up with `strcmp`.
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
    // NGX_CONF_NOARGS is bit 0, NGX_CONF_TAKE1 bit 1 and so on.
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
    // SAFETY: nginx passes an entry of our table and the level's record.
    guard("set_directive", ngx::CONF_ERROR, || unsafe { set(cf, command, level) })
}

/// Takes one directive (`ngx_command_t.set`).
///
/// # Safety
///
/// nginx calls this with an entry of [`commands`] and the level's [`LocationConf`].
unsafe fn set(cf: *mut ngx_conf_t, command: *mut ngx_command_t, level: *mut c_void) -> *mut c_char {
    // SAFETY: the caller's promise; the records were made by `conf::create`.
    let (directive, level, main, words, prefix) = unsafe {
        (
            &DIRECTIVES[(*command).offset],
            &mut *level.cast::<LocationConf>(),
            &mut *conf::parsed_main(cf),
            (*(*cf).args).as_slice::<ngx_str_t>(),
            ngx::bytes(&(*(*cf).cycle).prefix),
        )
    };
    // SAFETY: words of the file live as long as the configuration.
    let arguments: Vec<&[u8]> = words[1..].iter().map(|word| unsafe { ngx::bytes(word) }).collect();
    let mut scope = Scope {
        level: &mut level.settings,
        process: &mut main.process,
        // SAFETY: the caller's promise.
        context: unsafe { context(cf) },
        // SAFETY: as above.
        place: unsafe { place(cf) },
        prefix: Path::new(OsStr::from_bytes(prefix)),
        notices: Vec::new(),
    };
    let result = directive.apply(&mut scope, &arguments);
    for notice in scope.notices {
        // SAFETY: `cf` is nginx's.
        unsafe { tell(cf, notice.level, &notice.text) };
    }
    if let Err(error) = result {
        // SAFETY: `cf` is nginx's.
        unsafe { tell(cf, Level::Emerg, &error.to_string()) };
        return ngx::CONF_ERROR;
    }
    // SAFETY: as above; a directive that adds a variable has two arguments.
    unsafe {
        if level.settings.variables.iter().any(|variable| variable.number == main.values.len()) {
            if !compile(cf, main, words[2]) {
                return ngx::CONF_ERROR;
            }
            main.references.push(Reference { text: words[2], place: place(cf) });
        }
        match directive.name {
            "wsgi_pass" => serve(cf),
            "wsgi_temp_path"
                if !temporary::register(cf, level.settings.temp_path.as_ref(), temporary::Origin::Here) =>
            {
                return ngx::CONF_ERROR;
            }
            _ => {}
        }
    }
    ngx::CONF_OK
}

/// Compiles the value of the variable that was just added. nginx itself reports what is wrong with it.
///
/// # Safety
///
/// `cf` is nginx's.
unsafe fn compile(cf: *mut ngx_conf_t, main: &mut MainConf, mut text: ngx_str_t) -> bool {
    // SAFETY: a zeroed set of flags means none; the value outlives the request for it.
    unsafe {
        let value = conf::complex_value((*cf).pool);
        if value.is_null() {
            return false;
        }
        let mut request: ngx_http_compile_complex_value_t = std::mem::zeroed();
        request.cf = cf;
        request.value = &raw mut text;
        request.complex_value = value;
        if ngx_http_compile_complex_value(&raw mut request) != ngx::OK {
            return false;
        }
        main.values.push(value);
        true
    }
}

/// Makes the location answer with an application.
///
/// # Safety
///
/// `cf` stands in a location.
unsafe fn serve(cf: *mut ngx_conf_t) {
    // SAFETY: the caller's promise.
    unsafe {
        let core = &mut *ngx::parsed_location(cf, &raw const ngx_http_core_module).cast::<ngx_http_core_loc_conf_t>();
        core.handler = Some(handler::content_handler);
        if ngx::bytes(&core.name).ends_with(b"/") {
            core.set_auto_redirect(1);
        }
    }
}

/// Checks what only the whole configuration can tell.
///
/// # Safety
///
/// `cf` stands in the `http` block, which has been read to its end.
pub(crate) unsafe fn check(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let main = &*conf::parsed_main(cf);
        for reference in &main.references {
            for name in references(ngx::bytes(&reference.text)).filter(|name| !is_variable(cf, name)) {
                let name = String::from_utf8_lossy(name);
                tell(
                    cf,
                    Level::Warn,
                    &format!("\"wsgi_var\" in {} uses \"${name}\", which is not known", reference.place),
                );
            }
        }
        match main.process.check() {
            Ok(()) => true,
            Err(error) => {
                tell(cf, Level::Emerg, &error.to_string());
                false
            }
        }
    }
}

/// Names of the variables in a value, without those of captures, which have numbers.
fn references(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b'$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(b"{").unwrap_or(rest);
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
        let name = &rest[..end];
        name.first().is_some_and(|byte| !byte.is_ascii_digit()).then_some(name)
    })
}

/// Whether a module or the configuration has defined a variable. nginx itself looks later, and then tells no place.
///
/// # Safety
///
/// `cf` stands in the `http` block, which has been read to its end.
unsafe fn is_variable(cf: *mut ngx_conf_t, name: &[u8]) -> bool {
    // SAFETY: until the end of the block nginx keeps a list of all names, in lower case, and of prefixes.
    unsafe {
        let core = &*ngx::parsed_main(cf, &raw const ngx_http_core_module).cast::<ngx_http_core_main_conf_t>();
        let keys = (*core.variables_keys).keys.as_slice::<ngx_hash_key_t>();
        let prefixes = core.prefix_variables.as_slice::<ngx_http_variable_t>();
        keys.iter().any(|key| ngx::bytes(&key.key).eq_ignore_ascii_case(name))
            || prefixes.iter().any(|prefix| {
                let prefix = ngx::bytes(&prefix.name);
                name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            })
    }
}

/// # Safety
///
/// `cf` is nginx's.
unsafe fn context(cf: *mut ngx_conf_t) -> Context {
    // SAFETY: the caller's promise.
    match unsafe { (*cf).cmd_type } {
        NGX_HTTP_MAIN_CONF => Context::Http,
        NGX_HTTP_SRV_CONF => Context::Server,
        NGX_HTTP_LIF_CONF => Context::IfInLocation,
        NGX_HTTP_LMT_CONF => Context::LimitExcept,
        _ => Context::Location,
    }
}

/// # Safety
///
/// `cf` is nginx's.
unsafe fn place(cf: *mut ngx_conf_t) -> Place {
    // SAFETY: the caller's promise; nothing is read from a file only with `-g`, which this module has no directives for.
    unsafe {
        let file = (*cf).conf_file;
        Place { file: String::from_utf8_lossy(ngx::bytes(&(*file).file.name)).into_owned(), line: (*file).line }
    }
}

/// # Safety
///
/// `cf` is nginx's.
unsafe fn tell(cf: *mut ngx_conf_t, level: Level, text: &str) {
    let line = ngx::str_of(text.as_bytes());
    // SAFETY: `%V` takes a pointer to a string. nginx adds file and line.
    unsafe {
        ngx_conf_log_error(log::number(level), cf, 0, c"%V".as_ptr(), &raw const line);
        // nginx shows no more than warnings on the terminal, but whoever tests a configuration wants to read it all.
        if ngx_test_config != 0 && ngx_quiet_mode == 0 && level < Level::Warn {
            let line = format!("[notice] {text} in {}", place(cf));
            let line = ngx::str_of(line.as_bytes());
            ngx_log_stderr(0, c"%V".as_ptr(), &raw const line);
        }
    }
}
