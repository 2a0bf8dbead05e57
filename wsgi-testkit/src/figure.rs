//! Prints numbers that a test has counted.

use std::io::Write;

/// Prints a line `figure S2: 33 of 33 refused`. `row` names the promise that the figure belongs to, and occurs once in a
/// line, so that the figures of a run can be collected.
///
/// libtest captures the output of `print!` and `eprintln!` in a passing test. Figures matter most in passing tests, so they
/// are written to standard error directly.
pub fn figure(row: &str, text: &str) {
    // One write, because tests run concurrently. An error is ignored: a closed standard error must not fail a test.
    let _ = std::io::stderr().write_all(line(row, text).as_bytes());
}

/// Begins a new line even after "test name ... ", which libtest leaves open when tests run one by one.
fn line(row: &str, text: &str) -> String {
    format!("\nfigure {row}: {}\n", text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_line_that_begins_with_its_row() {
        assert_eq!(line("S2", "33 of 33\nrefused"), "\nfigure S2: 33 of 33 refused\n");
    }

    /// The test runs itself in a child process, whose output shows what libtest captures.
    #[test]
    fn a_figure_of_a_passing_test_is_seen() {
        const WITHIN: &str = "WSGI_TESTKIT_FIGURE";
        if std::env::var_os(WITHIN).is_some() {
            println!("kept back");
            return figure("S0", "1 of 1 seen");
        }
        let output = std::process::Command::new(std::env::current_exe().expect("the path of this test"))
            .args(["--exact", "figure::tests::a_figure_of_a_passing_test_is_seen"])
            .env(WITHIN, "1")
            .output()
            .expect("run this test");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(text(&output.stderr).lines().any(|line| line == "figure S0: 1 of 1 seen"), "{output:?}");
        assert!(!text(&output.stdout).contains("kept back"), "{output:?}");
    }
}
