//! Workers share their load: a busy worker leaves new connections to a worker with a free permit.

mod kills;
mod panics;
mod transfers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::harness::{
    Client, Gate, Mode, Nginx, Site, connections, get, in_both_modes, kill, pause, request, wait_for,
};

/// Answers with the process id. `/wait` records it first, and waits at the gate. `/exhaust` opens all descriptors that the worker
/// may have, and `/release` closes them.
const PLACES: &str = "
import os
HERE = os.path.dirname(__file__)
HELD = []
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/exhaust':
        try:
            while True:
                HELD.append(os.open('/dev/null', os.O_RDONLY))
        except OSError:
            pass
    if environ['PATH_INFO'] == '/release':
        while HELD:
            os.close(HELD.pop())
    if environ['PATH_INFO'] == '/wait':
        with open(os.path.join(HERE, 'begun'), 'a') as begun:
            begun.write(f'{os.getpid()}\\n')
        open(os.path.join(HERE, 'gate')).read()
    return [str(os.getpid()).encode()]
";

fn site(mode: Mode, workers: usize) -> Site {
    Site::new(mode)
        .workers(workers)
        .http("wsgi_preload on;")
        .file("app.py", PLACES)
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /file", "root html;")
}

fn start(mode: Mode, workers: usize) -> (Nginx, Gate) {
    start_site(site(mode, workers))
}

fn start_site(site: Site) -> (Nginx, Gate) {
    let nginx = site.start();
    let gate = Gate::new(nginx.path("gate"));
    wait_until_all_serve(&nginx);
    (nginx, gate)
}

/// Blocks until each worker has answered a request: before that, a worker that starts counts as busy.
fn wait_until_all_serve(nginx: &Nginx) {
    let workers: BTreeSet<_> = nginx.workers().into_iter().collect();
    let mut seen = BTreeSet::new();
    wait_for("an answer of each worker", || {
        seen.insert(worker_of(&nginx.get("/").ok()));
        seen.is_superset(&workers).then_some(())
    });
}

/// Returns the workers in which requests for `/wait` have begun.
fn begun(nginx: &Nginx) -> Vec<u32> {
    let lines = std::fs::read_to_string(nginx.path("begun")).unwrap_or_default();
    lines.lines().map(|line| line.parse().expect("a process id")).collect()
}

/// Sends this many requests for `/wait`, one after the other. Returns when all of them run.
fn occupy(nginx: &Nginx, number: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..number {
        let before = begun(nginx).len();
        clients.push(wait(nginx));
        wait_for("the request to begin", || (begun(nginx).len() > before).then_some(()));
    }
    // From 100 ms on, workers whose requests are younger are preferred, also while they are busy for a moment.
    std::thread::sleep(Duration::from_millis(150));
    clients
}

/// Sends a request for `/wait` on a new connection.
fn wait(nginx: &Nginx) -> Client {
    let mut client = nginx.connect();
    client.send(request("GET", "/wait", "Connection: close\r\n", b""));
    client
}

fn worker_of(answer: &str) -> u32 {
    answer.parse().expect("a process id")
}

#[test]
fn requests_at_the_same_time_run_in_different_workers() {
    in_both_modes(|mode| {
        let (nginx, gate) = start(mode, 4);
        for round in 0..5 {
            // A worker counts as busy until the thread of the last request has returned its permit, after the response.
            std::thread::sleep(Duration::from_millis(200));
            let before = begun(&nginx).len();
            let mut clients: Vec<_> = (0..4).map(|_| wait(&nginx)).collect();
            wait_for("all requests to begin", || (begun(&nginx).len() == before + 4).then_some(()));
            let workers: BTreeSet<_> = begun(&nginx)[before..].iter().copied().collect();
            assert_eq!(workers.len(), 4, "{mode}, round {round}: {:?}", begun(&nginx));
            gate.pass();
            let answered: BTreeSet<_> = clients.iter_mut().map(|client| worker_of(&client.response().ok())).collect();
            assert_eq!(answered, workers);
        }
    });
}

#[test]
fn a_late_worker_looks_for_the_request_of_a_connection_before_it_accepts_another_one() {
    let (nginx, gate) = start(Mode::Inline, 2);
    let workers = nginx.workers();
    let mut first = nginx.connect();
    let accepted = |worker: &u32| connections(*worker, nginx.port()) > 0;
    let late = wait_for("the connection to be accepted", || workers.iter().copied().find(accepted));
    workers.iter().for_each(|worker| pause(*worker));
    let mut second = wait(&nginx);
    first.send(request("GET", "/wait", "Connection: close\r\n", b""));
    std::thread::sleep(Duration::from_millis(30));
    kill(late, libc::SIGCONT);
    wait_for("its request to begin", || (begun(&nginx) == [late]).then_some(()));
    workers.iter().for_each(|worker| kill(*worker, libc::SIGCONT));
    wait_for("the other request to begin", || (begun(&nginx).len() == 2).then_some(()));
    gate.pass();
    assert_eq!(worker_of(&first.response().ok()), late);
    assert_ne!(worker_of(&second.response().ok()), late);
}

#[test]
fn requests_that_wait_are_spread_evenly() {
    // Applications with interpreters of their own: requests stay in their workers.
    let (nginx, gate) = start_site(site(Mode::Threads(1), 4).http("wsgi_enable_subinterpreters on;"));
    let mut clients = occupy(&nginx, 4);
    for _ in 0..4 {
        let mut client = nginx.connect();
        client.send(request("GET", "/", "Connection: close\r\n", b""));
        clients.push(client);
        // Answered behind the request of that client, so that its worker has counted it.
        assert_eq!(nginx.get("/file").ok(), "file");
    }
    gate.pass();
    let mut answers = BTreeMap::<u32, usize>::new();
    for client in &mut clients {
        *answers.entry(worker_of(&client.response().ok())).or_default() += 1;
    }
    // A worker that is free first may answer a request of another one.
    assert!(answers.len() == 4 && answers.values().all(|number| *number <= 3), "{answers:?}");
}

#[test]
fn several_permits_are_used_before_a_worker_leaves_connections_to_others() {
    let (nginx, gate) = start(Mode::Threads(2), 2);
    let mut clients = occupy(&nginx, 4);
    let workers = begun(&nginx);
    assert!(workers.iter().all(|worker| workers.iter().filter(|other| *other == worker).count() == 2), "{workers:?}");
    gate.pass();
    clients.iter_mut().for_each(|client| _ = client.response().ok());
}

#[test]
fn a_free_worker_answers_all_requests_while_another_one_is_busy() {
    in_both_modes(|mode| {
        let (nginx, gate) = start(mode, 2);
        let mut client = occupy(&nginx, 1);
        let busy = begun(&nginx)[0];
        for _ in 0..100 {
            assert_ne!(worker_of(&nginx.get("/").ok()), busy, "{mode}");
        }
        gate.pass();
        assert_eq!(worker_of(&client[0].response().ok()), busy);
        // Both accept again.
        wait_for("the worker to accept again", || (worker_of(&nginx.get("/").ok()) == busy).then_some(()));
    });
}

#[test]
fn files_are_served_while_all_workers_are_busy() {
    let (nginx, gate) = start(Mode::Threads(1), 4);
    let mut clients = occupy(&nginx, 4);
    for _ in 0..100 {
        assert_eq!(nginx.get("/file").ok(), "file");
    }
    gate.pass();
    clients.iter_mut().for_each(|client| _ = client.response().ok());
}

#[test]
fn idle_connections_do_not_stop_a_worker() {
    in_both_modes(|mode| {
        let (nginx, _gate) = start(mode, 2);
        // nginx has accepted them in this order when the request behind them is answered.
        let _idle: Vec<_> = (0..20).map(|_| nginx.connect()).collect();
        wait_until_all_serve(&nginx);
    });
}

#[test]
fn requests_are_answered_after_the_only_free_worker_was_killed() {
    in_both_modes(|mode| {
        let (nginx, gate) = start_site(site(mode, 2).expect_in_log("exited on signal 9"));
        let mut client = occupy(&nginx, 1);
        let busy = begun(&nginx)[0];
        for _ in 0..5 {
            let free = nginx.workers().into_iter().find(|worker| *worker != busy).expect("another worker");
            kill(free, libc::SIGKILL);
            // While the new worker starts, the busy one accepts connections too. Their requests wait.
            wait_for("an answer of a new worker", || {
                let mut client = nginx.connect();
                client.send(request("GET", "/", "Connection: close\r\n", b""));
                let is_answered = client.has_answer_within(Duration::from_secs(1));
                is_answered.then(|| assert_ne!(worker_of(&client.response().ok()), busy))
            });
        }
        gate.pass();
        assert_eq!(worker_of(&client[0].response().ok()), busy);
    });
}

/// Opens kept-alive connections until this number of them have the same worker. Returns these.
fn connections_of_one_worker(nginx: &Nginx, number: usize) -> (u32, Vec<Client>) {
    let mut known = BTreeMap::<u32, Vec<Client>>::new();
    loop {
        let mut client = nginx.connect();
        client.send(get("/"));
        let worker = worker_of(&client.response().ok());
        let clients = known.entry(worker).or_default();
        clients.push(client);
        if clients.len() == number {
            return (worker, std::mem::take(clients));
        }
    }
}

fn two_of_one_worker(nginx: &Nginx) -> (u32, Client, Client) {
    let (worker, mut clients) = connections_of_one_worker(nginx, 2);
    let (second, first) = (clients.pop().expect("two clients"), clients.pop().expect("two clients"));
    (worker, first, second)
}

/// Like [`two_of_one_worker`]; the first connection has a request for `/wait` that runs.
fn busy_with_two(nginx: &Nginx) -> (u32, Client, Client) {
    let (worker, mut first, second) = two_of_one_worker(nginx);
    first.send(get("/wait"));
    wait_for("the request to begin", || (begun(nginx) == [worker]).then_some(()));
    (worker, first, second)
}

#[test]
fn a_worker_that_cannot_accept_does_not_hold_up_files_of_a_busy_one() {
    let (nginx, gate) = start_site(site(Mode::Threads(1), 2).main("worker_rlimit_nofile 60;"));
    let mut client = occupy(&nginx, 1);
    let busy = begun(&nginx)[0];
    let mut other = nginx.connect();
    other.send(get("/exhaust"));
    assert_ne!(worker_of(&other.response().ok()), busy);
    for _ in 0..40 {
        assert_eq!(nginx.get("/file").ok(), "file");
    }
    other.send(get("/release"));
    other.response().ok();
    gate.pass();
    assert_eq!(worker_of(&client[0].response().ok()), busy);
    wait_until_all_serve(&nginx);
}

#[test]
fn a_stopped_worker_does_not_hold_up_files_of_a_busy_one() {
    let (nginx, gate) = start(Mode::Threads(1), 2);
    let mut client = occupy(&nginx, 1);
    let busy = begun(&nginx)[0];
    let free = nginx.workers().into_iter().find(|worker| *worker != busy).expect("another worker");
    pause(free);
    for _ in 0..40 {
        assert_eq!(nginx.get("/file").ok(), "file");
    }
    kill(free, libc::SIGCONT);
    gate.pass();
    assert_eq!(worker_of(&client[0].response().ok()), busy);
    wait_until_all_serve(&nginx);
}

#[test]
fn pipelined_requests_keep_their_connection() {
    let (nginx, gate) = start(Mode::Threads(1), 2);
    let (worker, mut first, mut second) = busy_with_two(&nginx);
    second.send([get("/"), get("/"), get("/")].concat());
    for _ in 0..3 {
        assert_ne!(worker_of(&second.response().ok()), worker);
    }
    gate.pass();
    first.response().ok();
}

#[test]
fn kept_connections_stay_unless_another_worker_answers() {
    let (nginx, gate) = start(Mode::Threads(1), 2);
    let (worker, mut first, mut second) = busy_with_two(&nginx);
    let mut others = occupy(&nginx, 1);
    second.send(get("/"));
    assert!(!second.has_answer_within(Duration::from_millis(300)));
    gate.pass();
    assert_eq!(first.response().header("Connection"), Some("keep-alive"));
    // The worker that is free first answers.
    let answer = second.response();
    let is_moved = worker_of(&answer.ok()) != worker;
    assert_eq!(answer.header("Connection"), Some(if is_moved { "close" } else { "keep-alive" }));
    others.iter_mut().for_each(|client| _ = client.response().ok());
}

#[test]
fn requests_one_after_the_other_keep_their_connection() {
    in_both_modes(|mode| {
        let (nginx, _gate) = start(mode, 2);
        let mut client = nginx.connect();
        let mut closed = 0;
        for _ in 0..500 {
            client.send(get("/"));
            if client.response().header("Connection") == Some("close") {
                closed += 1;
                client = nginx.connect();
            }
        }
        // On a busy machine a thread may take long to return the permit of the request before.
        assert!(closed < 10, "{mode}: {closed} connections were closed");
    });
}

#[test]
fn an_inline_worker_closes_kept_connections_whose_requests_have_waited() {
    let (nginx, gate) = start(Mode::Inline, 2);
    let (worker, mut first, mut second) = busy_with_two(&nginx);
    second.send(get("/"));
    assert!(!second.has_answer_within(Duration::from_millis(300)));
    gate.pass();
    first.response().ok();
    let answer = second.response();
    assert_eq!((answer.header("Connection"), worker_of(&answer.ok())), (Some("close"), worker));
}

#[cfg(ngx_feature = "http_v2")]
#[test]
fn an_http2_connection_of_a_busy_worker_gets_goaway_with_its_next_stream() {
    use crate::harness::Http2;

    let site = site(Mode::Threads(1), 2);
    let listen = Http2::listen(&site.path("h2.sock"));
    let server = "location / {\nwsgi_pass app.py;\n}\nlocation = /file {\nroot html;\n}";
    let (nginx, gate) = start_site(site.another_server(&format!("{listen}\n{server}")));
    let mut client = Http2::connect(&nginx.path("h2.sock"), 65_535);
    // Connections with few streams are kept.
    for _ in 0..100 {
        let file = client.get("/file");
        assert_eq!(client.body(file), b"file");
    }
    let first = client.get("/wait");
    wait_for("the request to begin", || (begun(&nginx).len() == 1).then_some(()));
    // The other worker answers.
    let second = client.get("/");
    let answer = client.body(second);
    assert_ne!(answer, begun(&nginx)[0].to_string().as_bytes());
    wait_for("the connection to be ended", || {
        let file = client.get("/file");
        assert_eq!(client.body(file), b"file");
        client.has_goaway().then_some(())
    });
    gate.pass();
    assert_eq!(client.body(first), begun(&nginx)[0].to_string().as_bytes());
}

#[test]
fn a_busy_worker_still_waits_for_connections_to_servers_without_applications() {
    let site = site(Mode::Threads(1), 2);
    let plain = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        probe.local_addr().expect("an address").port()
    };
    let (nginx, gate) = start_site(site.another_server(&format!("listen 127.0.0.1:{plain};\nreturn 200;")));
    let mut client = occupy(&nginx, 1);
    let busy = begun(&nginx)[0];
    wait_for("the worker to stop waiting", || {
        nginx.get("/");
        (!ports_in_epoll(busy).contains(&nginx.port())).then_some(())
    });
    assert!(ports_in_epoll(busy).contains(&plain), "{:?}", ports_in_epoll(busy));
    gate.pass();
    client[0].response().ok();
    wait_for("the worker to wait again", || ports_in_epoll(busy).contains(&nginx.port()).then_some(()));
}

/// Returns the ports of the listening sockets that a process waits for.
fn ports_in_epoll(process: u32) -> BTreeSet<u16> {
    let folder = std::path::PathBuf::from(format!("/proc/{process}"));
    let table = std::fs::read_to_string(folder.join("net/tcp")).expect("the sockets of the system");
    // Columns: number, local address, remote address, state (0A: listening), ..., inode in the tenth.
    let listening: BTreeMap<String, u16> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(3) == Some(&"0A"))
        .map(|columns| {
            let (_, port) = columns[1].split_once(':').expect("an address and a port");
            (format!("socket:[{}]", columns[9]), u16::from_str_radix(port, 16).expect("a port"))
        })
        .collect();
    let mut ports = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join("fdinfo")).expect("the descriptors of the worker").flatten() {
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for line in info.lines().filter_map(|line| line.strip_prefix("tfd:")) {
            let number = line.split_whitespace().next().expect("a descriptor");
            let link = std::fs::read_link(folder.join("fd").join(number)).unwrap_or_default();
            ports.extend(listening.get(&*link.to_string_lossy()));
        }
    }
    ports
}

/// The beginnings of the notices about workers that do not share their load.
const NOTICE: &str = "workers do not share the";

#[test]
fn one_notice_says_why_load_is_not_shared() {
    let mutex = site(Mode::Threads(1), 2).events("accept_mutex on;").start();
    assert_eq!(worker_of(&mutex.get("/").ok()).min(1), 1);
    assert_eq!(mutex.log_lines(NOTICE).len(), 1);
    assert!(mutex.logged(NOTICE).contains("[notice]") && mutex.logged(NOTICE).contains("accept_mutex"));
    let own_queues = site(Mode::Threads(1), 2).listen_options("reuseport").start();
    assert_eq!(worker_of(&own_queues.get("/").ok()).min(1), 1);
    assert_eq!(own_queues.log_lines(NOTICE).len(), 1);
    let port = format!("127.0.0.1:{}:", own_queues.port());
    assert!(own_queues.logged(NOTICE).contains(&port), "{}", own_queues.logged(NOTICE));
}

#[test]
fn one_warning_says_that_there_are_too_few_descriptors_and_all_workers_serve() {
    // nginx needs two for each worker, and workers that share their load three more.
    for limits in ["ulimit -S -n 50", "ulimit -S -n 60", "ulimit -S -n 80"] {
        let nginx = site(Mode::Threads(1), 16).main("worker_rlimit_nofile 1024;").limits(limits).start();
        wait_until_all_serve(&nginx);
        assert_eq!(nginx.log_lines(NOTICE).len(), 1, "{limits}");
        let warning = nginx.logged(NOTICE);
        assert!(warning.contains("[warn]") && warning.contains("LimitNOFILE"), "{warning}");
    }
}

#[test]
fn nothing_is_said_about_load_that_is_not_to_be_shared() {
    for site in [
        site(Mode::Threads(1), 1).events("accept_mutex on;"),
        site(Mode::Threads(1), 2).events("accept_mutex on;").http("wsgi_share_load off;"),
        site(Mode::Threads(1), 2),
    ] {
        let nginx = site.start();
        nginx.get("/").ok();
        assert_eq!(nginx.log_lines(NOTICE), [""; 0]);
    }
}

#[test]
fn load_is_shared_with_multi_accept() {
    let (nginx, gate) = start_site(site(Mode::Threads(1), 3).events("multi_accept on;"));
    let mut clients = occupy(&nginx, 3);
    assert_eq!(begun(&nginx).iter().collect::<BTreeSet<_>>().len(), 3, "{:?}", begun(&nginx));
    gate.pass();
    clients.iter_mut().for_each(|client| _ = client.response().ok());
}
