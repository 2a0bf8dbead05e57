//! `scripts/check/matrix` and its trees: refused arguments, and interruptions, after which no mount and no process is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wsgi_harness::write_script;
use wsgi_testkit::wait_for;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package")
}

/// A script of the project. Its trees, if it makes any, are below `folder`.
fn script(name: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(workspace().join("scripts").join(name));
    command.env("WSGI_TREES", folder.path().join("trees")).stdin(Stdio::null());
    command
}

fn temporary_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Returns the single line that a failing command writes to standard error.
#[track_caller]
fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(said.lines().count(), 1, "more than a sentence: {said}");
    said
}

/// Creates a directory for `PATH` with the programs of this system, except those in `absent`.
fn programs_without(absent: &[&str], folder: &TempDir) -> PathBuf {
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).expect("make a folder");
    for path in std::env::split_paths(&std::env::var_os("PATH").expect("a PATH")) {
        for entry in fs::read_dir(path).into_iter().flatten() {
            let program = entry.expect("an entry").path();
            let name = program.file_name().expect("a name");
            if !absent.contains(&name.to_string_lossy().as_ref()) {
                // The first of two programs with one name is used.
                let _ = symlink(&program, programs.join(name));
            }
        }
    }
    programs
}

/// Replaces a program in a directory by a script that prints a line.
fn replace_program(programs: &Path, name: &str, line: &str) {
    let path = programs.join(name);
    let _ = fs::remove_file(&path);
    write_script(&path, &format!("#!/bin/sh\necho '{line}'\n"));
}

/// The programs of this system, with an `id` that reports root, so that other users can run the test.
fn programs_of_root(absent: &[&str], folder: &TempDir) -> PathBuf {
    let programs = programs_without(absent, folder);
    replace_program(&programs, "id", "0");
    programs
}

#[test]
fn an_unknown_row_or_tree_is_refused_with_those_that_exist() {
    let folder = temporary_folder();
    let said = refusal(script("check/matrix", &folder).args(["trixie", "buster"]));
    assert_eq!(said, "error: there is no row \"buster\": bookworm, trixie, sid, sid-3.15, vendored\n");
    let said = refusal(script("build/debian-tree", &folder).arg("buster"));
    assert_eq!(said, "error: there is no tree \"buster\": bookworm, trixie, sid\n");
    let said = refusal(script("build/in-tree", &folder).args(["buster", "true"]));
    assert_eq!(said, "error: there is no tree \"buster\": bookworm, trixie, sid\n");
}

#[test]
fn unknown_arguments_are_refused_with_the_usage() {
    let folder = temporary_folder();
    for arguments in [&["--check", "extra"][..], &["--check", "--record"], &["--record", "--check"], &["trixie", "-x"]]
    {
        let said = refusal(script("check/matrix", &folder).args(arguments));
        assert!(
            said.starts_with("error: usage: scripts/check/matrix [--record] [ROW...], or"),
            "{arguments:?}: {said}"
        );
    }
    for arguments in [&[][..], &["trixie", "extra"]] {
        let said = refusal(script("build/debian-tree", &folder).args(arguments));
        assert!(said.starts_with("error: usage: scripts/build/debian-tree SUITE"), "{arguments:?}: {said}");
    }
    let said = refusal(script("build/in-tree", &folder).arg("trixie"));
    assert!(said.starts_with("error: usage: scripts/build/in-tree SUITE COMMAND"), "{said}");
}

#[test]
fn users_other_than_root_are_refused_with_the_row_that_needs_no_root() {
    let folder = temporary_folder();
    let programs = programs_without(&[], &folder);
    replace_program(&programs, "id", "1000");
    for (name, arguments) in
        [("check/matrix", &["trixie"][..]), ("build/debian-tree", &["sid"]), ("build/in-tree", &["sid", "true"])]
    {
        let said = refusal(script(name, &folder).args(arguments).env("PATH", &programs));
        assert!(
            said.contains("only root can make and enter") && said.contains("make matrix ROWS=vendored"),
            "{name}: {said}"
        );
    }
    assert!(!folder.path().join("trees").exists(), "it has begun with a tree");
}

#[test]
fn a_system_without_debootstrap_that_is_not_debian_is_refused_with_what_is_missing() {
    let folder = temporary_folder();
    // A system without apt-get is not Debian.
    let programs = programs_of_root(&["debootstrap", "apt-get"], &folder);
    replace_program(&programs, "unshare", "");
    let said = refusal(script("check/matrix", &folder).arg("trixie").env("PATH", &programs));
    assert!(said.contains("not found: debootstrap") && said.contains("package manager of this system"), "{said}");
}

#[test]
fn a_system_that_forbids_namespaces_is_refused() {
    let folder = temporary_folder();
    let programs = programs_of_root(&["unshare"], &folder);
    symlink("/bin/false", programs.join("unshare")).expect("a link");
    let said = refusal(script("check/matrix", &folder).arg("trixie").env("PATH", &programs));
    assert!(said.contains("root cannot create mount and PID namespaces"), "{said}");
}

/// Makes a tree that contains only a shell, in the directory for `WSGI_TREES`. debootstrap would take a minute.
fn small_tree() -> TempDir {
    let folder = temporary_folder();
    let commands = r#"
        set -e
        mkdir -p trees/trixie/{etc,proc,dev,tmp}
        for program in /bin/bash /bin/sleep; do
            cp --parents --dereference "$program" $(ldd "$program" | grep -o '/[^ )]*') trees/trixie
        done
        touch trees/trixie/etc/wsgi-tree
    "#;
    let status = Command::new("bash").args(["-c", commands]).current_dir(folder.path()).status().expect("a shell");
    assert!(status.success(), "the small tree is not made");
    folder
}

/// `scripts/build/in-tree` with a bash command.
fn in_tree(command: &str, folder: &TempDir) -> Command {
    // bash cannot trap a signal that it inherits as ignored, for example in the background of another shell.
    let mut env = Command::new("env");
    env.args(["--default-signal=HUP,INT,TERM", "--"]).arg(workspace().join("scripts/build/in-tree"));
    env.args(["trixie", "bash", "-c", command]).env("WSGI_TREES", folder.path().join("trees"));
    env.stdin(Stdio::null());
    env
}

/// Returns the remains of a tree besides its files: mounts that this process sees, and processes inside the tree or
/// started for it.
fn left_of(folder: &TempDir) -> Vec<String> {
    let path = folder.path().to_str().expect("a readable path");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    let mut left: Vec<_> = mounts.lines().filter(|line| line.contains(path)).map(str::to_owned).collect();
    for entry in fs::read_dir("/proc").expect("/proc").map(|entry| entry.expect("an entry").path()) {
        let environment = fs::read(entry.join("environ")).unwrap_or_default();
        let root = fs::read_link(entry.join("root")).unwrap_or_default();
        if root.starts_with(path) || environment.windows(path.len()).any(|window| window == path.as_bytes()) {
            left.push(format!("{}: {:?}", entry.display(), fs::read_to_string(entry.join("cmdline"))));
        }
    }
    left
}

/// Whether this process may use trees. Otherwise the scripts refuse, see above.
fn can_use_trees() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "true"]).stderr(Stdio::null());
    // SAFETY: `geteuid` only returns a number.
    let is_root = unsafe { libc::geteuid() == 0 };
    is_root && unshare.status().is_ok_and(|status| status.success())
}

/// Sends a signal to a script and returns its exit status.
fn interrupt(script: &mut Child, signal: libc::c_int) -> ExitStatus {
    // SAFETY: `kill` touches no memory; the child was not waited for, so that its id is not reused.
    unsafe { libc::kill(script.id() as libc::pid_t, signal) };
    script.wait().expect("the script can be waited for")
}

/// Asserts that nothing is left, and that the tree can be used again.
#[track_caller]
fn assert_usable(folder: &TempDir, circumstances: &str) {
    let output = in_tree("echo inside", folder).output().expect("run in-tree");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said == "inside\n", "{circumstances}: {output:?}");
    assert_eq!(left_of(folder), Vec::<String>::new(), "{circumstances}");
}

#[test]
fn a_signal_ends_what_runs_in_a_tree_with_every_process_and_mount() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        // One process of the tree is in a background job that ignores the signals.
        let command = "set -m; (trap '' HUP INT TERM; sleep 600) & echo inside; sleep 600";
        let mut script = in_tree(command, &folder).stdout(Stdio::piped()).spawn().expect("run in-tree");
        let mut output = BufReader::new(script.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "inside\n");
        assert!(left_of(&folder).len() >= 3, "too few processes: {:?}", left_of(&folder));
        assert!(!left_of(&folder).iter().any(|left| !left.starts_with("/proc/")), "a mount is seen outside");
        let status = interrupt(&mut script, signal);
        if signal == libc::SIGKILL {
            assert_eq!(status.signal(), Some(signal));
            wait_for("the processes of the tree to end", || left_of(&folder).is_empty().then_some(()));
        } else {
            assert_eq!(status.code(), Some(128 + signal));
            assert_eq!(left_of(&folder), Vec::<String>::new(), "after signal {signal}");
        }
        assert_usable(&folder, &format!("after signal {signal}"));
    }
}

#[test]
fn interrupted_run_in_a_tree_leaves_no_process() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    // No gate is available before the script has begun or in its middle.
    for moment in (0..300).step_by(20).map(Duration::from_millis) {
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let mut script = in_tree("sleep 600", &folder).spawn().expect("run in-tree");
            std::thread::sleep(moment);
            interrupt(&mut script, signal);
            wait_for("the processes of the tree to end", || left_of(&folder).is_empty().then_some(()));
        }
    }
    assert_usable(&folder, "at last");
}

#[test]
fn a_tree_that_is_not_complete_is_not_used() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    fs::remove_file(folder.path().join("trees/trixie/etc/wsgi-tree")).expect("a stamp");
    let said = refusal(&mut in_tree("echo inside", &folder));
    assert!(
        said.contains("there is no complete tree in ") && said.contains("scripts/build/debian-tree trixie"),
        "{said}"
    );
}

#[test]
fn the_project_is_read_only_in_a_tree_but_for_its_target_folder() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    let command = "! echo > Cargo.lock && ! echo > scripts/new && echo mine > target/of-the-tree && echo inside";
    let output = in_tree(command, &folder).output().expect("run in-tree");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout == b"inside\n" && errors.matches("Read-only file system").count() == 2, "{output:?}");
    assert!(!workspace().join("target/of-the-tree").exists());
    let kept = fs::read_to_string(folder.path().join("trees/trixie.target/of-the-tree")).expect("a file of the tree");
    assert_eq!(kept, "mine\n");
}

/// Copies the tree of the folder to `skeleton`, for a debootstrap of this test, with an apt-get that runs `apt_get`.
/// The tree itself becomes an old one, of another recipe.
fn skeleton(folder: &TempDir, apt_get: &str) {
    let commands = r#"
        set -e
        mkdir -p programs project trees/trixie.target trees/trixie/etc
        rm -rf skeleton
        cp -r trees/trixie skeleton
        rm skeleton/etc/wsgi-tree
        echo old > trees/trixie/age
        echo new > skeleton/age
        echo old > trees/trixie.target/age
        printf '0 0\n0\n' > trees/trixie/etc/wsgi-tree
        printf '#!/bin/bash\n%s\n' "$1" > skeleton/bin/apt-get
        chmod 755 skeleton/bin/apt-get
        cp -rT "$2" project/scripts
        printf '#!/bin/bash\n' > project/scripts/build/install-missing
    "#;
    let mut bash = Command::new("bash");
    bash.args(["-c", commands, "bash", apt_get]).arg(workspace().join("scripts")).current_dir(folder.path());
    assert!(bash.status().expect("a shell").success(), "the skeleton is not made");
}

/// `scripts/build/debian-tree trixie` in a copy of the project, with this program as debootstrap.
fn debian_tree(debootstrap: &str, folder: &TempDir) -> Command {
    let programs = folder.path().join("programs");
    write_script(&programs.join("debootstrap"), &format!("#!/bin/bash\n{debootstrap}\n"));
    let path = std::env::var_os("PATH").expect("a PATH");
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).expect("a PATH");
    let mut env = Command::new("env");
    env.args(["--default-signal=HUP,INT,TERM", "--"])
        .arg(folder.path().join("project/scripts/build/debian-tree"))
        .arg("trixie");
    env.env("WSGI_TREES", folder.path().join("trees"))
        .env("SKELETON", folder.path().join("skeleton"))
        .env("PATH", path);
    env.stdin(Stdio::null());
    env
}

/// A debootstrap that succeeds.
const MAKES_A_TREE: &str = r#"cp -rT "$SKELETON" "$3""#;

/// Asserts that the tree works, is the old or the new one, and has its own target directory, and that nothing else is
/// left.
#[track_caller]
fn assert_age(wanted: &str, folder: &TempDir) {
    let output = in_tree("read -r age < /age; echo $age", folder).output().expect("run in-tree");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), wanted, "{output:?}");
    assert_eq!(folder.path().join("trees/trixie.target/age").exists(), wanted == "old");
    assert_eq!(left_of(folder), Vec::<String>::new());
}

#[track_caller]
fn assert_nothing_beside_the_tree(folder: &TempDir) {
    for name in ["trixie.new", "trixie.old"] {
        assert!(!folder.path().join("trees").join(name).exists(), "{name} is left");
    }
}

#[test]
fn a_tree_of_another_recipe_stays_until_a_new_one_is_complete() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    skeleton(&folder, "exit 0");
    // The mirror cannot be reached.
    let unreachable = "echo 'E: Failed getting release file http://mirror/dists/trixie/Release'; exit 1";
    let output = debian_tree(unreachable, &folder).output().expect("run debian-tree");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("cannot be reached: the tree trixie stays as it is"),
        "{output:?}"
    );
    assert_age("old", &folder);
    assert_nothing_beside_the_tree(&folder);
    // debootstrap fails for another reason.
    let said = refusal(&mut debian_tree("echo 'E: no space'; exit 1", &folder));
    assert!(said.contains("debootstrap failed to make") && said.contains("E: no space"), "{said}");
    assert_age("old", &folder);
    // debootstrap is interrupted.
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let begun = folder.path().join("begun");
        let hangs = format!("{MAKES_A_TREE}; echo > '{}'; sleep 600", begun.display());
        let mut script = debian_tree(&hangs, &folder).stdout(Stdio::null()).spawn().expect("run debian-tree");
        wait_for("debootstrap to begin", || begun.exists().then_some(()));
        interrupt(&mut script, signal);
        wait_for("the processes of the tree to end", || left_of(&folder).is_empty().then_some(()));
        assert_age("old", &folder);
        fs::remove_file(begun).expect("a file of debootstrap");
    }
    // debootstrap succeeds.
    let output = debian_tree(MAKES_A_TREE, &folder).output().expect("run debian-tree");
    assert!(output.status.success(), "{output:?}");
    assert_age("new", &folder);
    assert_nothing_beside_the_tree(&folder);
}

#[test]
fn a_tree_of_another_recipe_stays_where_packages_of_a_new_one_cannot_be_installed() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    skeleton(&folder, "echo 'E: Unable to fetch some archives'; exit 100");
    let said = refusal(&mut debian_tree(MAKES_A_TREE, &folder));
    assert!(said.contains("cannot be installed") && said.contains("E: Unable to fetch some archives"), "{said}");
    assert_age("old", &folder);
}

#[test]
fn a_complete_tree_takes_its_place_after_an_interruption() {
    if !can_use_trees() {
        return println!("left out: it needs root, and namespaces");
    }
    let folder = small_tree();
    skeleton(&folder, "exit 0");
    let trees = folder.path().join("trees");
    fs::rename(trees.join("trixie"), trees.join("kept")).expect("the tree");
    let output = debian_tree(MAKES_A_TREE, &folder).output().expect("run debian-tree");
    assert!(output.status.success(), "{output:?}");
    // The state between the two steps of the replacement.
    fs::rename(trees.join("trixie"), trees.join("trixie.new")).expect("the new tree");
    fs::rename(trees.join("kept"), trees.join("trixie.old")).expect("the old tree");
    let output = debian_tree("echo 'E: not wanted'; exit 1", &folder).output().expect("run debian-tree");
    assert!(output.status.success(), "{output:?}");
    assert_age("new", &folder);
    assert_nothing_beside_the_tree(&folder);
}
