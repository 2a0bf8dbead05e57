//! Generates the bindings to the nginx that the module is built for, and passes the path of libpython to the linker.

mod bindings;
mod interface;
mod layout;
mod makefile;
mod source;

use std::env;
use std::path::PathBuf;
use std::process::exit;

use layout::Layout;
use source::Source;

/// The oldest nginx that is supported, as `nginx_version` and as text.
const OLDEST: (u32, &str) = (1_022_000, "1.22.0");

/// nginx releases that changed an item which this module uses, as `nginx_version` numbers.
const NGINX_STEPS: [(&str, u32); 1] = [
    // Headers of one name became linked lists (`ngx_table_elt_t.next`).
    ("nginx_1_23", 1_023_000),
];

fn main() {
    println!("cargo::rerun-if-changed=build");
    for variable in ["CC", "LIBCLANG_PATH", "BINDGEN_EXTRA_CLANG_ARGS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    python();
    if let Err(reason) = nginx() {
        eprintln!("wsgi-nginx cannot be built: {reason}.");
        exit(1);
    }
    // nginx unloads its modules when the master exits and after every rejected configuration. Python cannot be
    // unloaded: its threads and exit handlers would return into unmapped memory.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
}

fn python() {
    // The dynamic loader needs the path of this build's libpython, since nginx itself does not link it.
    if let Ok(folder) = env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,{folder}");
    }
}

/// Writes `bindings.rs`, and passes nginx's version and build options to rustc.
fn nginx() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo has set no OUT_DIR")?);
    let source = Source::from_environment()?;
    let layout = Layout::from_c_compiler(&source, &out)?;
    if layout.version_number < OLDEST.0 {
        return Err(format!(
            "{} in {} is too old: {} or newer is needed",
            layout.version,
            source.folder.display(),
            OLDEST.1
        ));
    }
    let pointers = env::var("CARGO_CFG_TARGET_POINTER_WIDTH").unwrap_or_default();
    if layout.pointer.width.to_string() != pointers {
        return Err(format!(
            "nginx in {} has pointers of {} bits by its Makefile, and this build has pointers of {pointers}: choose the same \
             processor for both, by cargo's --target or nginx's --with-cc-opt",
            source.folder.display(),
            layout.pointer.width
        ));
    }
    if layout.pointer.is_packed {
        return Err(format!(
            "nginx in {} has packed structures, by -fpack-struct or a pragma in its Makefile or headers, whose fields Rust \
             cannot refer to: configure nginx without that",
            source.folder.display()
        ));
    }
    bindings::write(&source, &layout, &out)?;

    // Printed only after success: cargo shows this output when a build fails, and reruns a failed build script in any
    // case.
    for header in &layout.headers {
        println!("cargo::rerun-if-changed={}", header.display());
    }

    let features = interface::FEATURES.map(|(name, _)| format!("{name:?}")).join(", ");
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({features}))");
    for feature in &layout.features {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
    for (name, since) in NGINX_STEPS {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if layout.version_number >= since {
            println!("cargo::rustc-cfg={name}");
        }
    }
    println!("cargo::rustc-env=WSGI_NGINX_VERSION={}", layout.version);
    // The tests of the build script run it with other headers.
    let program = env::current_exe().map_err(|error| format!("the build script has no path: {error}"))?;
    println!("cargo::rustc-env=WSGI_NGINX_BUILD_SCRIPT={}", program.display());
    println!("cargo::rustc-env=WSGI_NGINX_SOURCE_DIR={}", source.folder.display());
    println!("cargo::rustc-env=WSGI_NGINX_BUILD_DIR={}", source.objects.display());
    Ok(())
}
