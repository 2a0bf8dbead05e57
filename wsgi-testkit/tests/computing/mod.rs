//! Scripts that compute without a pause, in dedicated interpreters and in the main one.

use std::time::{Duration, Instant};

use wsgi_core::config::Mode;
use wsgi_testkit::{App, Host, figure, get};

/// `/compute` runs until `/stop` or for twenty seconds, and never blocks meanwhile, so that only Python's switch interval
/// lets other requests run.
const SCRIPT: &str = "
import threading, time
stop = threading.Event()
def compute():
    end = time.monotonic() + 20
    while not stop.is_set() and time.monotonic() < end:
        pass
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/compute':
        stop.clear()
        threading.Thread(target=compute).start()
    if environ['PATH_INFO'] == '/stop':
        stop.set()
    return [b'ok']
";

/// Far longer than the switch interval of 5 ms on a busy machine, and far shorter than the twenty seconds.
const LONG: Duration = Duration::from_secs(2);
const REQUESTS: u32 = 10;

fn ask(host: &Host, app: &App, path: &str) -> Duration {
    let began = Instant::now();
    assert_eq!(host.send(app, get(path)).text(), "ok");
    began.elapsed()
}

pub(crate) fn scripts_answer_while_others_compute(mode: Mode) {
    let host = Host::shared_with(mode);
    let app = |main: bool| {
        let main = if main { "on" } else { "off" };
        let app = host.app(SCRIPT).with("wsgi_enable_subinterpreters on");
        app.with(&format!("wsgi_use_main_interpreter {main}"))
    };
    let apps = [app(true), app(false), app(false), app(false)];
    let answer_in_turn = |computing: &str| {
        let asked = apps.iter().flat_map(|app| std::iter::repeat_n(app, REQUESTS as usize));
        let times: Vec<_> = asked.map(|app| ask(host, app, "/")).collect();
        let longest = times.iter().max().copied().unwrap_or_default();
        let mean = times.iter().sum::<Duration>() / times.len() as u32;
        assert!(longest < LONG, "{computing}: a request took {longest:?}, {mean:?} on average");
        format!("{computing} {} ms, at most {}", mean.as_millis(), longest.as_millis())
    };
    let mut figures = vec![answer_in_turn("nobody")];
    for (number, app) in apps.iter().enumerate() {
        ask(host, app, "/compute");
        figures.push(answer_in_turn(&format!("script {number}")));
        ask(host, app, "/stop");
    }
    apps.iter().for_each(|app| _ = ask(host, app, "/compute"));
    figures.push(answer_in_turn("all"));
    apps.iter().for_each(|app| _ = ask(host, app, "/stop"));
    figure("FLT-29", &format!("a request while there compute: {}", figures.join("; ")));
}
