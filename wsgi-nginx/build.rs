//! Tells rustc which nginx the bindings were made for, and the linker how the finished module finds its libpython.

use std::env;

/// nginx releases at which something this module uses changed, as `nginx_version` numbers.
const NGINX_STEPS: [(&str, u32); 1] = [
    // Repeated request headers became linked lists, and `headers_in.cookie` one of them.
    ("nginx_1_23", 1_023_000),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    python();
    nginx();
    // nginx closes its modules while the master leaves and for every rejected configuration. Python cannot be unloaded:
    // its threads and exit handlers would return into unmapped memory.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
}

fn python() {
    // Where the libpython of this build lies, for the loader: nginx itself knows nothing of it.
    if let Ok(folder) = env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,{folder}");
    }
}

/// Passes on what nginx's `configure` decided, which nginx-sys reports to direct dependents only.
fn nginx() {
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({}))", of_nginx("FEATURES_CHECK"));
    for feature in of_nginx("FEATURES").split(',').filter(|feature| !feature.is_empty()) {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
    let version: u32 = of_nginx("VERSION_NUMBER").parse().expect("nginx_version is a number");
    for (name, since) in NGINX_STEPS {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if version >= since {
            println!("cargo::rustc-cfg={name}");
        }
    }
    println!("cargo::rustc-env=WSGI_NGINX_VERSION={}", of_nginx("VERSION"));
}

fn of_nginx(name: &str) -> String {
    let variable = format!("DEP_NGINX_{name}");
    println!("cargo::rerun-if-env-changed={variable}");
    env::var(&variable).unwrap_or_else(|_| panic!("nginx-sys reports no {variable}"))
}
