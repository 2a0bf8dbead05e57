//! The configuration and the files for an nginx.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;
use wsgi_harness::NginxVersion;

use super::failpoints::FOLDER;
use super::nginx::Nginx;

/// How applications run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On this number of threads.
    Threads(usize),
    /// In nginx's event loop.
    Inline,
}

impl fmt::Display for Mode {
    /// Writes the directive of the mode, without the semicolon.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Threads(number) => write!(formatter, "wsgi_threads {number}"),
            Mode::Inline => write!(formatter, "wsgi_threads 0"),
        }
    }
}

/// The result of `nginx -t`.
pub(crate) struct Check {
    pub(crate) succeeded: bool,
    pub(crate) output: String,
}

/// Builder of a configuration. Relative paths in it are relative to the directory of the site.
pub(crate) struct Site {
    pub(super) folder: TempDir,
    port: u16,
    pub(super) expected: Vec<String>,
    mode: Option<Mode>,
    user: &'static str,
    level: &'static str,
    master: bool,
    pub(super) daemon: bool,
    workers: usize,
    module: bool,
    pub(super) failpoints: bool,
    temp_path: bool,
    listen_options: &'static str,
    /// Shell commands to run before nginx is started.
    shell: String,
    main: String,
    events: String,
    http: String,
    server: String,
    others: String,
    whole: Option<String>,
}

impl Site {
    /// An empty site that runs applications in `mode`.
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode: Some(mode), ..Self::with_defaults() }
    }

    /// A site that does not configure how applications run.
    pub(crate) fn with_defaults() -> Self {
        let folder = tempfile::Builder::new().prefix("wsgi-nginx-").tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("set permissions");
        Self {
            folder,
            port: free_port(),
            expected: Vec::new(),
            mode: None,
            user: "root",
            level: "notice",
            master: true,
            daemon: false,
            workers: 1,
            module: true,
            failpoints: false,
            temp_path: true,
            listen_options: "",
            shell: String::new(),
            main: String::new(),
            events: String::new(),
            http: String::new(),
            server: String::new(),
            others: String::new(),
            whole: None,
        }
    }

    /// An nginx without the module, for tests of this harness.
    pub(crate) fn plain() -> Self {
        Self { module: false, ..Self::with_defaults() }
    }

    /// Uses a complete configuration in place of the parts, and adds the directives that the harness needs.
    pub(crate) fn whole(self, text: &str) -> Self {
        Self { whole: Some(text.to_owned()), ..self }
    }

    /// Adds directives at the top level.
    pub(crate) fn main(mut self, directives: &str) -> Self {
        push(&mut self.main, directives);
        self
    }

    /// Adds directives to the `events` block.
    pub(crate) fn events(mut self, directives: &str) -> Self {
        push(&mut self.events, directives);
        self
    }

    /// Adds directives at http level.
    pub(crate) fn http(mut self, directives: &str) -> Self {
        push(&mut self.http, directives);
        self
    }

    /// Adds directives at server level.
    pub(crate) fn server(mut self, directives: &str) -> Self {
        push(&mut self.server, directives);
        self
    }

    /// Adds a location; `name` may include a modifier.
    pub(crate) fn location(self, name: &str, directives: &str) -> Self {
        self.server(&format!("location {name} {{\n{directives}\n}}"))
    }

    /// Adds another server, whose directives include `listen`.
    pub(crate) fn another_server(mut self, directives: &str) -> Self {
        push(&mut self.others, &format!("server {{\n{directives}\n}}"));
        self
    }

    /// Writes a file below the directory of the site.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("make a folder");
        std::fs::write(path, content).expect("write a file");
        self
    }

    /// Runs workers as `user`; needs root.
    pub(crate) fn user(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    /// Sets the level of the error log, which is `notice` by default.
    pub(crate) fn log_level(self, level: &'static str) -> Self {
        Self { level, ..self }
    }

    /// Runs nginx as a single process (`master_process off`).
    pub(crate) fn without_master(self) -> Self {
        Self { master: false, ..self }
    }

    /// Starts nginx with this umask.
    pub(crate) fn umask(self, umask: &'static str) -> Self {
        Self { shell: format!("umask {umask}"), ..self }
    }

    /// Sets the number of workers.
    pub(crate) fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Leaves `wsgi_temp_path` unset; otherwise it is `wsgi_temp` below the directory of the site.
    pub(crate) fn without_temp_path(self) -> Self {
        Self { temp_path: false, ..self }
    }

    /// Starts nginx with limits that a shell command sets, such as `ulimit -S -s 1024`.
    pub(crate) fn limits(self, limits: &'static str) -> Self {
        Self { shell: limits.to_owned(), ..self }
    }

    /// Adds parameters of `listen`.
    pub(crate) fn listen_options(self, listen_options: &'static str) -> Self {
        Self { listen_options, ..self }
    }

    /// Allows lines of the error log that contain `text`, at any level.
    pub(crate) fn expect_in_log(mut self, text: &str) -> Self {
        self.expected.push(text.to_owned());
        self
    }

    /// Returns the port of the scenario's server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory of the site, which is nginx's prefix.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a path below the directory of the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Starts nginx with this configuration, and waits until it serves.
    pub(crate) fn start(self) -> Nginx {
        self.write_configuration();
        Nginx::start(self)
    }

    /// Runs `nginx -t` with this configuration.
    pub(crate) fn check(&self) -> Check {
        self.write_configuration();
        let output = self.command(Path::new("stderr")).arg("-t").output().expect("run nginx -t");
        let (succeeded, text) = (output.status.success(), [output.stdout, output.stderr].concat());
        let output = String::from_utf8_lossy(&text).into_owned();
        // A leak checker reports accepted configurations, which live until the process ends.
        let ours = |line: &str| line.trim_start().starts_with('#') && line.contains("wsgi");
        assert!(succeeded || !output.lines().any(ours), "left of a configuration that was refused:\n{output}");
        assert!(!output.contains("ERROR: AddressSanitizer"), "{output}");
        Check { succeeded, output }
    }

    /// Returns a command for nginx with the site's configuration. It runs in `/`, since the prefix counts and not the
    /// current directory. nginx writes to `log` until it has opened its own log; with `-t`, all messages go there.
    pub(super) fn command(&self, log: &Path) -> Command {
        let mut command = if self.shell.is_empty() {
            Command::new(self.nginx_binary())
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.shell)]).arg(self.nginx_binary());
            shell
        };
        if self.failpoints {
            command.env(FOLDER, self.failpoint_folder());
        }
        command.current_dir("/").arg("-p").arg(self.folder()).arg("-c").arg(self.configuration_path());
        command.arg("-e").arg(log);
        command
    }

    pub(crate) fn configuration_path(&self) -> PathBuf {
        self.path("nginx.conf")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path("error.log")
    }

    /// Returns the path of a socket that answers as soon as a worker runs, independent of the scenario's server.
    pub(super) fn ready_path(&self) -> PathBuf {
        self.path("ready.sock")
    }

    pub(super) fn write_configuration(&self) {
        let text = match &self.whole {
            Some(text) => self.top_level() + &text.replacen("http {", &format!("http {{\n{}", self.http_level()), 1),
            None => {
                let Self { main, events, http, server, others, port, listen_options, .. } = self;
                let workers = format!("worker_processes {};", self.workers);
                let threads = self.mode.map(|mode| format!("{mode};")).unwrap_or_default();
                let (top_level, http_level) = (self.top_level(), self.http_level());
                format!(
                    "{top_level}\n{workers}\n{main}\nevents {{\n{events}\n}}\nhttp {{\n{http_level}\n{threads}\n{http}\n\
                     server {{\nlisten 127.0.0.1:{port} {listen_options};\n{server}\n}}\n{others}\n}}\n"
                )
            }
        };
        std::fs::write(self.configuration_path(), text).expect("write nginx.conf");
    }

    fn top_level(&self) -> String {
        let mut text = String::new();
        if self.module {
            push(&mut text, &format!("load_module {};", self.module_file().display()));
        }
        // SAFETY: `geteuid` only returns a number.
        if unsafe { libc::geteuid() } == 0 {
            push(&mut text, &format!("user {};", self.user));
        }
        push(&mut text, &format!("master_process {};", if self.master { "on" } else { "off" }));
        push(&mut text, &format!("daemon {};", if self.daemon { "on" } else { "off" }));
        push(&mut text, &format!("pid nginx.pid;\nerror_log error.log {};", self.level));
        // Directives for a run of all tests, for example `env` for workers under a sanitizer.
        push(&mut text, &std::env::var("WSGI_TEST_MAIN").unwrap_or_default());
        text
    }

    /// Returns directives that keep all files below the directory of the site, and a server that answers once a worker
    /// runs.
    fn http_level(&self) -> String {
        let mut text = String::from("access_log off;\n");
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            push(&mut text, &format!("{kind}_temp_path {kind}_temp;"));
        }
        if self.module && self.temp_path {
            push(&mut text, "wsgi_temp_path wsgi_temp;");
        }
        push(&mut text, &format!("server {{\nlisten unix:{};\nreturn 204;\n}}", self.ready_path().display()));
        text
    }
}

fn push(text: &mut String, directives: &str) {
    text.push_str(directives);
    text.push('\n');
}

/// Returns the root of the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package")
}

/// Returns this nginx's compiled-in directory for request bodies: relative to its prefix, or absolute.
pub(crate) fn body_temp_path() -> PathBuf {
    let output = Command::new(nginx_binary()).arg("-V").output().expect("run nginx -V");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let option = text.split_whitespace().find_map(|word| word.strip_prefix("--http-client-body-temp-path="));
    option.unwrap_or("client_body_temp").into()
}

pub(super) fn nginx_binary() -> PathBuf {
    built("WSGI_TEST_NGINX", "target/nginx/sbin/nginx")
}

/// Returns the path of the module under test.
pub(crate) fn module() -> PathBuf {
    built("WSGI_TEST_MODULE", "target/nginx/modules/ngx_http_wsgi_module.so")
}

fn built(variable: &str, default: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| workspace().join(default), PathBuf::from);
    assert!(path.is_file(), "\"{}\" is missing: run `make nginx`, or set {variable}", path.display());
    path
}

/// The first release with the directive `keepalive_min_timeout`.
pub(crate) const KEEPALIVE_MIN_TIMEOUT: NginxVersion = NginxVersion(1, 27, 4);

/// Returns the version of the nginx under test.
pub(crate) fn nginx_version() -> NginxVersion {
    let output = Command::new(nginx_binary()).arg("-v").output().expect("run nginx -v");
    let text = String::from_utf8_lossy(&output.stderr);
    NginxVersion::parse(&text).unwrap_or_else(|| panic!("no version in {text:?}"))
}

/// Returns a free port. Avoids ports of outgoing connections; no two tests of one run get the same port.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 200) as u16 * 100;
    loop {
        let port = 10_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
