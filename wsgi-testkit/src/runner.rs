//! The testkit's host: a gateway, and requests sent through it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

use wsgi_core::config::{self, Context, LevelSettings, Limits, Mode, Place, ProcessSettings, Scope, StackSize, Target};
use wsgi_core::error::Fault;
use wsgi_core::host::{HostParts, Summary};
use wsgi_core::python::{ExchangeHandle, Gateway, GatewaySettings, Location, LocationBuilder};

use crate::captured::{Captured, LogLine};
use crate::faults::Faults;
use crate::request::Request;
use crate::sink::{CapturingLog, CapturingSink, Client};
use crate::transfers::{self, Transfers};

/// An application that a [`Host`] serves.
#[derive(Clone, Debug)]
pub struct App {
    location: Arc<Location>,
    settings: LevelSettings,
    path: Option<PathBuf>,
}

impl App {
    /// Returns the file of an application made from source text.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the same application in a location with one more directive, e.g. `wsgi_output_buffering on`. Values of
    /// `wsgi_var` are used as they are. If the directive is refused, panics with the message for the operator.
    pub fn with(self, directive: &str) -> Self {
        let Self { location, mut settings, path } = self;
        let mut process = ProcessSettings::default();
        let mut scope = Scope::new(
            &mut settings,
            &mut process,
            Context::Location,
            Place { file: "testkit".to_owned(), line: 1 },
            Path::new("/"),
        );
        config::apply_line(directive, &mut scope).unwrap_or_else(|error| panic!("{error}"));
        Self {
            location: Location::builder(location.target().clone()).settings(settings.clone()).build(),
            settings,
            path,
        }
    }
}

impl App {
    /// Returns the same application in a location with further settings: a full disk, stamps of the test, a middleware in
    /// Rust. Call it after [`with`](Self::with), which builds the location anew.
    pub fn built_with(self, describe: impl FnOnce(LocationBuilder) -> LocationBuilder) -> Self {
        let builder = Location::builder(self.location.target().clone()).settings(self.settings.clone());
        Self { location: describe(builder).build(), ..self }
    }
}

/// From a location that the test has built.
impl From<Arc<Location>> for App {
    fn from(location: Arc<Location>) -> Self {
        Self { settings: location.settings().clone(), location, path: None }
    }
}

/// A gateway in this process. Python starts once per process, so there can be only one.
///
/// Applications run on threads of the gateway's pool, or inline, on one thread that serves as the event loop.
pub struct Host {
    pub(crate) gateway: Running,
    folder: PathBuf,
    log: Arc<CapturingLog>,
}

pub(crate) enum Running {
    Threads(Gateway),
    Transfers(Transfers),
    Inline(Mutex<mpsc::Sender<Work>>),
}

pub(crate) type Work = Box<dyn FnOnce(&Gateway) + Send>;

impl Host {
    /// Returns the host of this process, with two threads.
    pub fn shared() -> &'static Self {
        Self::shared_with(Mode::Threads(Limits::new(2).max_threads(64).queue(64)))
    }

    /// Returns the host of this process; only the `mode` of the first call is used.
    pub fn shared_with(mode: Mode) -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| Self::start(&GatewaySettings::new(mode)))
    }

    /// Returns the host of this process, which lets each request wait, and transfers it to another gateway
    /// ([`ExchangeHandle::transfer`]), in the same process. Requests with bodies that are not transferred run at once.
    pub fn shared_with_transfers() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| {
            let host = Self::start(&GatewaySettings::new(transfers::mode()));
            let busy = host.app(transfers::BUSY).with("wsgi_enable_subinterpreters on");
            let Self { gateway: Running::Threads(gateway), folder, log } = host else {
                unreachable!("a host with threads")
            };
            let script = busy.path().expect("a script");
            let transfers = Transfers::start(Box::leak(Box::new(gateway)), busy.location.clone(), script);
            Self { gateway: Running::Transfers(transfers), folder, log }
        })
    }

    /// Starts Python. Panics if that fails, as a test cannot continue.
    pub fn start(settings: &GatewaySettings) -> Self {
        let log = Arc::new(CapturingLog::default());
        let gateway = match settings.mode {
            Mode::Inline => Running::Inline(Mutex::new(event_loop(settings.clone(), log.clone()))),
            _ => Running::Threads(Gateway::start(settings, log.clone()).unwrap_or_else(|error| panic!("{error}"))),
        };
        let folder = std::env::temp_dir().join(format!("wsgi-testkit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for applications");
        Self { gateway, folder, log }
    }

    /// Creates an application from source text; its callable is `application`.
    pub fn app(&self, source: &str) -> App {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = self.folder.join(format!("app{}.py", NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut file = std::fs::File::create(&path).expect("a file for the application");
        file.write_all(source.as_bytes()).expect("room for the application");
        let mut app = self.serve(Target::Script { path: path.clone(), callable: "application".to_owned() });
        app.path = Some(path);
        app
    }

    /// Returns the application of that name: `folder/app.py`, `mysite.wsgi`, either with `:callable`. Panics if the name is
    /// invalid; whether the application can be loaded shows at its first request.
    pub fn named(&self, name: &str) -> App {
        self.serve(name.parse().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Returns the application of any target.
    pub fn serve(&self, target: Target) -> App {
        App { location: Location::new(target), settings: LevelSettings::default(), path: None }
    }

    /// Sends a request, and blocks until the exchange ends.
    pub fn send(&self, app: &App, request: Request) -> Captured {
        self.send_to(app, request, Faults::default()).finish()
    }

    /// Sends a request, with injected faults.
    pub fn send_to(&self, app: &App, mut request: Request, faults: Faults) -> Pending {
        for variable in &app.settings.variables {
            request = request.variable(&variable.name, &*variable.value);
        }
        let (head_request, body_unwanted) = (request.is_head(), faults.body_unwanted);
        let leaves_when_stalled = faults.leaves_when_stalled;
        let (sink, client) = CapturingSink::new(faults);
        let parts = HostParts::new(sink, client.log()).body(request.source());
        let (sender, receiver) = mpsc::channel();
        let done = move |result| {
            // The test may have dropped the receiver.
            let _ = sender.send(result);
        };
        let handle = match &self.gateway {
            Running::Threads(gateway) => {
                let handle = gateway
                    .dispatch(&app.location, &request, parts.done(done))
                    .unwrap_or_else(|refused| panic!("{refused}"));
                client.on_leave(Waker::from(Arc::new(Cancel(handle.clone()))));
                Some(handle)
            }
            Running::Transfers(transfers) => {
                let handle = transfers.send(&app.location, &request, parts, done);
                client.on_leave(Waker::from(Arc::new(Cancel(handle.clone()))));
                Some(handle)
            }
            Running::Inline(work) => {
                let location = Arc::clone(&app.location);
                let client = client.clone();
                let work = work.lock().unwrap_or_else(PoisonError::into_inner);
                let work_of = move |gateway: &Gateway| {
                    done(inline(gateway, &location, &request, parts, &client, leaves_when_stalled));
                };
                work.send(Box::new(work_of)).expect("the event loop runs");
                None
            }
        };
        Pending { client, receiver, handle, head_request, body_unwanted }
    }

    /// Shuts the applications down, as a host does before its process ends ([`Gateway::shutdown`]). No request can be sent
    /// afterwards. Must be called on the thread that started the host.
    pub fn shutdown(&self, within: Duration) {
        match &self.gateway {
            Running::Threads(gateway) => gateway.shutdown(within),
            Running::Transfers(transfers) => transfers.gateway.shutdown(within),
            Running::Inline(work) => {
                let (sender, ended) = mpsc::channel();
                let end = move |gateway: &Gateway| {
                    gateway.shutdown(within);
                    // The test waits on the receiver.
                    let _ = sender.send(());
                };
                let work = work.lock().unwrap_or_else(PoisonError::into_inner);
                work.send(Box::new(end)).expect("the event loop runs");
                ended.recv().expect("the gateway ends");
            }
        }
    }

    /// Returns the log records that belong to no request.
    pub fn log(&self) -> Vec<LogLine> {
        self.log.take()
    }
}

/// An exchange in progress.
pub struct Pending {
    client: Client,
    receiver: mpsc::Receiver<Result<Summary, Fault>>,
    handle: Option<ExchangeHandle>,
    head_request: bool,
    body_unwanted: bool,
}

impl Pending {
    /// Returns the client of the exchange.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Cancels the exchange, as a host does when its client leaves. Threads only.
    pub fn cancel(&self) {
        self.handle.as_ref().expect("an exchange on a thread").cancel();
    }

    /// Blocks until the exchange ends.
    pub fn finish(self) -> Captured {
        let result = self.receiver.recv().expect("an exchange ends");
        let Self { client, head_request, body_unwanted, .. } = self;
        Captured { events: client.take(), fault: result.err(), head_request, body_unwanted }
    }
}

/// Cancels an exchange when its client leaves, as a host does.
struct Cancel(ExchangeHandle);

impl Wake for Cancel {
    fn wake(self: Arc<Self>) {
        self.0.cancel();
    }
}

/// Runs one exchange on the event loop's thread; a stalled client continues as soon as the exchange waits for it.
fn inline(
    gateway: &Gateway,
    location: &Arc<Location>,
    request: &Request,
    parts: HostParts,
    client: &Client,
    leaves_when_stalled: bool,
) -> Result<Summary, Fault> {
    let mut cx = task::Context::from_waker(Waker::noop());
    let mut exchange = {
        let _attached = gateway.attach(location);
        gateway.begin(location, request, parts)
    };
    loop {
        match exchange.advance(&mut cx) {
            Poll::Ready(result) => return result,
            // A host does this when the client leaves.
            Poll::Pending if leaves_when_stalled => return Err(Fault::Cancelled),
            Poll::Pending => client.go_on(),
        }
    }
}

/// Starts a thread that serves as a host's event loop.
fn event_loop(settings: GatewaySettings, log: Arc<CapturingLog>) -> mpsc::Sender<Work> {
    let (sender, receiver) = mpsc::channel::<Work>();
    std::thread::Builder::new()
        .name("event-loop".to_owned())
        .stack_size(StackSize::default().bytes())
        .spawn(move || {
            let gateway = Gateway::start(&settings, log).unwrap_or_else(|error| panic!("{error}"));
            for work in receiver {
                work(&gateway);
            }
        })
        .expect("a thread");
    sender
}
