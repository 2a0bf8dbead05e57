//! What a test has counted, for whoever reads its output.

use std::io::Write;

/// Prints a line `figure S2: 33 of 33 refused`. `row` names the promise that the figure belongs to, and stands once in a
/// line, so that the figures of a run can be collected.
///
/// libtest keeps back what a passing test prints with `print!` and `eprintln!`. A figure is of interest above all where
/// the test passes, so it goes to standard error itself.
pub fn figure(row: &str, text: &str) {
    // One write, for lines of tests that run side by side. Nobody who does not listen fails a test.
    let _ = std::io::stderr().write_all(line(row, text).as_bytes());
}

/// A line of its own even after "test name ... ", which libtest leaves open when tests run one by one.
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

    /// The test runs itself: only its own process can tell what libtest lets through.
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
