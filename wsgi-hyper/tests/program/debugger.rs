//! `breakpoint()` and `input()` on the terminal that the program was started from.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::harness::Client;

const SOURCE: &str = r#"
def application(environ, start_response):
    answer = 41
    if environ["PATH_INFO"] == "/debug":
        breakpoint()
    if environ["PATH_INFO"] == "/trace":
        import pdb; pdb.set_trace()
    if environ["PATH_INFO"] == "/input":
        answer = input("which number? ")
    start_response("200 OK", [])
    return [str(answer).encode()]
"#;

/// Starts a program on a new terminal, which copies its input and output.
const ON_A_TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

struct Terminal {
    program: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    /// Reads the screen until it shows `text` after the text of the last call. Returns all text up to its end.
    fn shows(&mut self, text: &str) -> String {
        let mut block = [0; 4096];
        loop {
            if let Some(at) = self.shown.find(text) {
                let behind = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, behind);
            }
            let count = self.screen.read(&mut block).expect("a screen");
            assert!(count > 0, "no {text:?} in {:?}", self.shown);
            self.shown += &String::from_utf8_lossy(&block[..count]);
        }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a keyboard");
    }
}

#[test]
fn a_debugger_works_on_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), SOURCE).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_wsgi-hyper"), "--bind", "127.0.0.1:0", "app.py"]);
    command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let (keyboard, screen) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
    let mut terminal = Terminal { program, keyboard, screen, shown: String::new() };
    terminal.shows("http://");
    let address = terminal.shows("/").trim_end_matches('/').to_owned();
    let ask = |path: &str| {
        let mut client = Client::new(TcpStream::connect(&*address).expect("the server listens"));
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client
    };
    for path in ["/debug", "/trace"] {
        let mut client = ask(path);
        terminal.shows("(Pdb) ");
        terminal.types("answer = 42\n");
        terminal.shows("(Pdb) ");
        terminal.types("c\n");
        assert!(client.rest().ends_with("\r\n42"), "{path}");
    }
    let mut client = ask("/input");
    terminal.shows("which number? ");
    terminal.types("43\n");
    assert!(client.rest().ends_with("\r\n43"));
    // Ctrl-C.
    terminal.types("\x03");
    terminal.keyboard.flush().unwrap();
    assert!(terminal.program.wait().unwrap().success());
}
