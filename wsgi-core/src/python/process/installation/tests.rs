//! Tests of layouts of installations and environments that may lead to the standard library of another installation.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::super::preflight::{self, PythonSettings};
use super::*;

/// A folder with installations of Python 3.11. The running libpython belongs to `own`.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.installation("own");
        tree.installation("other");
        tree
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(folder_of(&self.at(name))).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn link(&self, target: &str, name: &str) {
        fs::create_dir_all(folder_of(&self.at(name))).unwrap();
        symlink(self.at(target), self.at(name)).unwrap();
    }

    fn installation(&self, prefix: &str) {
        self.write(&format!("{prefix}/bin/python3.11"), "");
        symlink("python3.11", self.at(&format!("{prefix}/bin/python3"))).unwrap();
        self.write(&format!("{prefix}/lib/python3.11/os.py"), "");
        self.write(&format!("{prefix}/lib/python3.11/_sysconfigdata__linux_.py"), prefix);
    }

    /// Creates a virtual environment as `venv` does from the Python in the folder `home`.
    fn venv(&self, name: &str, home: &str) {
        self.config(name, &format!("home = {}\nversion = 3.11.2\n", self.at(home).display()));
        self.link(&format!("{home}/python3.11"), &format!("{name}/bin/python3"));
        symlink("python3", self.at(&format!("{name}/bin/python"))).unwrap();
    }

    fn config(&self, name: &str, text: &str) {
        self.write(&format!("{name}/pyvenv.cfg"), text);
    }

    /// Returns whether this executable leads to the standard library of another installation than `own`, by the search
    /// of Python 3.11 and newer, and by that of older ones.
    fn is_other(&self, executable: &str) -> bool {
        let judge = |links_first| self.judge(links_first, &Lead::Executable(&self.at(executable), None));
        assert_eq!(judge(false), judge(true), "{executable}: the searches differ");
        judge(false)
    }

    fn is_other_home(&self, home: &Path) -> bool {
        self.judge(false, &Lead::Home(home, "wsgi_python_home"))
    }

    fn judge(&self, links_first: bool, lead: &Lead<'_>) -> bool {
        let layout = Layout { stdlib: "lib/python3.11".into(), zip: "lib/python311.zip".into(), links_first };
        layout.landmark(lead).is_some_and(|found| !is_same(&found, &self.at("own/lib/python3.11/os.py")))
    }
}

#[test]
fn an_environment_of_another_installation_is_found_however_it_was_made() {
    let tree = Tree::new();
    let home = tree.at("other/bin").display().to_string();
    tree.venv("linked", "other/bin");
    tree.config("copied", &format!("home = {home}\nversion = 3.11.2\n"));
    tree.write("copied/bin/python", "");
    tree.config("virtualenv", &format!("HOME={home}\nversion_info = 3.11.2.final.0\nbase-prefix = /x\n"));
    tree.write("virtualenv/bin/python", "");
    tree.config("uv", &format!("home = {home}\nimplementation = CPython\nuv = 0.5.1\nversion_info = 3.11.2\n"));
    tree.link("other/bin/python3", "uv/bin/python");
    tree.link("linked", "current");
    tree.link("other", "versions/3.11");
    tree.venv("by-alias", "versions/3.11/bin");
    for venv in ["linked", "copied", "virtualenv", "uv", "current", "by-alias"] {
        assert!(tree.is_other(&format!("{venv}/bin/python")), "{venv}");
    }
}

#[test]
fn a_program_and_a_home_of_another_installation_are_found() {
    let tree = Tree::new();
    tree.link("other/bin/python3", "usr-bin/python3");
    assert!(tree.is_other("other/bin/python3.11"));
    assert!(tree.is_other("usr-bin/python3"));
    assert!(tree.is_other_home(&tree.at("other")));
    let both = format!("{}:{}", tree.at("other").display(), tree.at("own").display());
    assert!(tree.is_other_home(Path::new(&both)));
}

#[test]
fn every_layout_of_the_own_installation_is_accepted() {
    let tree = Tree::new();
    let home = tree.at("own/bin").display().to_string();
    tree.venv("linked", "own/bin");
    tree.config("copied", &format!("home = {home}\nversion = 3.11.2\n"));
    tree.write("copied/bin/python", "");
    // The installation was upgraded later.
    tree.config("older", &format!("home = {home}\nversion = 3.11.0\n"));
    tree.link("own/bin/python3.11", "older/bin/python");
    // An alias of pyenv, and the link that Homebrew has beside its cellar.
    tree.link("own", "versions/3.11");
    tree.venv("by-alias", "versions/3.11/bin");
    // A system where /bin is a link to /usr/bin.
    tree.link("own/bin", "own/sbin");
    tree.venv("merged", "own/sbin");
    // An environment created within an environment: `home` is that of the base, or the environment itself.
    tree.venv("linked/inner", "own/bin");
    tree.venv("of-linked", "linked/bin");
    // Old tools linked the standard library into each environment.
    tree.venv("with-library", "with-library/bin");
    tree.link("own/lib/python3.11/os.py", "with-library/lib/python3.11/os.py");
    // The standard library is somewhere else.
    tree.link("own/lib", "relocated/lib");
    tree.write("relocated/bin/python3.11", "");
    tree.venv("of-relocated", "relocated/bin");
    for venv in
        ["linked", "copied", "older", "by-alias", "merged", "linked/inner", "of-linked", "with-library", "of-relocated"]
    {
        assert!(!tree.is_other(&format!("{venv}/bin/python")), "{venv}");
    }
    assert!(!tree.is_other("own/bin/python3"));
    assert!(!tree.is_other_home(&tree.at("own")));
    assert!(!tree.is_other_home(&tree.at("versions/3.11")));
}

#[test]
fn an_environment_that_leads_to_no_standard_library_is_accepted() {
    let tree = Tree::new();
    // CPython falls back on the prefix of its libpython, which works.
    tree.venv("moved", "gone/bin");
    tree.config("no-home", "version = 3.11.2\n");
    tree.write("no-home/bin/python", "");
    tree.config("relative", "home = other/bin\n");
    tree.write("relative/bin/python", "");
    tree.write("shims/python3", "#!/bin/sh\n");
    for executable in ["moved/bin/python", "no-home/bin/python", "relative/bin/python", "shims/python3", "none/python"]
    {
        assert!(!tree.is_other(executable), "{executable}");
    }
    // A loop of links.
    tree.link("loop/b", "loop/a");
    tree.link("loop/a", "loop/b");
    assert!(!tree.is_other("loop/a"));
}

#[test]
fn link_between_two_installations_is_resolved_as_by_the_python_version() {
    let tree = Tree::new();
    // Up to 3.10 the link is followed first, and the file of the environment is not read.
    tree.config("mixed", &format!("home = {}\n", tree.at("other/bin").display()));
    tree.link("own/bin/python3.11", "mixed/bin/python");
    let executable = tree.at("mixed/bin/python");
    assert!(tree.judge(false, &Lead::Executable(&executable, None)));
    assert!(!tree.judge(true, &Lead::Executable(&executable, None)));
}

#[test]
fn a_copy_of_the_own_installation_is_accepted() {
    let tree = Tree::new();
    tree.installation("copy");
    assert!(tree.is_other("copy/bin/python3"));
    tree.write("copy/lib/python3.11/_sysconfigdata__linux_.py", "own");
    assert!(!tree.is_other("copy/bin/python3"));
    // The tool that moved it has written the new prefix into the record, as conda and uv do.
    let record =
        |prefix: &str| format!("{{'prefix': '{}', 'CC': 'gcc'}}", tree.at(prefix).canonicalize().unwrap().display());
    tree.installation("moved");
    for prefix in ["own", "moved"] {
        tree.write(&format!("{prefix}/lib/python3.11/_sysconfigdata__linux_.py"), &record(prefix));
    }
    assert!(tree.is_other("moved/bin/python3"), "the version is not known");
    tree.write("own/include/python3.11/patchlevel.h", "3.11.7");
    tree.write("moved/include/python3.11/patchlevel.h", "3.11.7");
    assert!(!tree.is_other("moved/bin/python3"));
    tree.write("moved/include/python3.11/patchlevel.h", "3.11.2");
    assert!(tree.is_other("moved/bin/python3"));
    // Environments of conda share files as hard links.
    tree.installation("conda");
    fs::remove_file(tree.at("conda/lib/python3.11/os.py")).unwrap();
    fs::hard_link(tree.at("own/lib/python3.11/os.py"), tree.at("conda/lib/python3.11/os.py")).unwrap();
    assert!(!tree.is_other("conda/bin/python3"));
    // Without a record the builds cannot be compared.
    tree.installation("bare");
    fs::remove_file(tree.at("bare/lib/python3.11/_sysconfigdata__linux_.py")).unwrap();
    assert!(tree.is_other("bare/bin/python3"));
}

#[test]
fn a_zip_file_or_a_source_tree_is_not_judged() {
    let tree = Tree::new();
    tree.write("other/lib/python311.zip", "");
    assert!(!tree.is_other("other/bin/python3"));
    tree.installation("sources");
    tree.write("sources/bin/pybuilddir.txt", "build/lib");
    assert!(!tree.is_other("sources/bin/python3"));
}

#[test]
fn standard_library_of_another_libpython_is_searched_beside_that_library() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder_of(Path::new(BUILD_STDLIB)).file_name().unwrap();
    let landmark = folder.path().canonicalize().unwrap().join("lib").join(name).join("os.py");
    let libraries = ["lib/libpython.so.1.0", "lib/x86_64-linux-gnu/libpython.so.1.0", "elsewhere/libpython.so.1.0"]
        .map(|library| folder.path().join(library));
    for library in &libraries {
        fs::create_dir_all(folder_of(library)).unwrap();
        fs::write(library, "").unwrap();
        assert_eq!(own_landmark(library), None);
    }
    fs::create_dir_all(folder_of(&landmark)).unwrap();
    fs::write(&landmark, "").unwrap();
    assert_eq!(own_landmark(&libraries[0]), Some(landmark.clone()));
    assert_eq!(own_landmark(&libraries[1]), Some(landmark));
    assert_eq!(own_landmark(&libraries[2]), None);
    assert_eq!(own_landmark(&library().unwrap()), Some(BUILD_STDLIB.into()));
}

/// Creates a virtual environment with this Python.
fn make_venv(python: &Path, folder: &Path, options: &[&str]) {
    let made = Command::new(python).args(["-m", "venv", "--without-pip"]).args(options).arg(folder).status().unwrap();
    assert!(made.success());
}

/// Returns the path of `os.py` that a Python reports.
fn standard_library_of(python: &Path) -> PathBuf {
    let output = Command::new(python).args(["-I", "-c", "import os; print(os.__file__)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn home(folder: PathBuf) -> PythonSettings {
    PythonSettings { home: Some(folder), ..PythonSettings::default() }
}

#[test]
fn a_real_environment_of_this_python_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (linked, copied) = (folder.path().join("linked"), folder.path().join("copied"));
    make_venv(Path::new(BUILD_EXECUTABLE), &linked, &[]);
    make_venv(Path::new(BUILD_EXECUTABLE), &copied, &["--copies"]);
    make_venv(&linked.join("bin/python"), &folder.path().join("inner"), &[]);
    for name in ["linked", "copied", "inner"] {
        let venv = folder.path().join(name);
        let executable = venv.join("bin/python");
        let found = Layout::of_build().unwrap().landmark(&Lead::Executable(&executable, Some(&venv)));
        assert_eq!(found, Some(standard_library_of(&executable)), "{name}: CPython takes another one");
        let executable = PythonSettings { executable: Some(venv.join("bin/python3")), ..PythonSettings::default() };
        for settings in [home(venv), executable] {
            assert!(preflight::plan(&settings).is_ok(), "{name}: {:?}", preflight::plan(&settings).err());
        }
    }
    let prefix = folder_of(folder_of(folder_of(Path::new(BUILD_STDLIB))));
    assert!(preflight::plan(&home(prefix.to_path_buf())).is_ok());
    assert!(preflight::plan(&PythonSettings::default()).is_ok());
}

#[test]
fn a_real_environment_of_another_installation_on_this_machine_is_refused() {
    let (major, minor) = build_minor();
    let python = PathBuf::from(format!("/usr/bin/python{major}.{minor}"));
    if !python.is_file() || is_same(&standard_library_of(&python), Path::new(BUILD_STDLIB)) {
        eprintln!("this machine has no second Python {major}.{minor} in /usr/bin: nothing is tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (linked, copied) = (folder.path().join("linked"), folder.path().join("copied"));
    make_venv(&python, &linked, &[]);
    make_venv(&python, &copied, &["--copies"]);
    for settings in [home(linked), home(copied), home("/usr".into())] {
        let refused = preflight::plan(&settings);
        assert!(matches!(refused, Err(StartError::OtherInstallation(_))), "{:?}", refused.err());
    }
}

/// Creates a folder that looks like another installation of the running minor version.
fn other_installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::of_build().unwrap();
    let (major, minor) = build_minor();
    for file in [layout.stdlib.join("os.py"), format!("bin/python{major}.{minor}").into()] {
        fs::create_dir_all(folder_of(&folder.path().join(&file))).unwrap();
        fs::write(folder.path().join(file), "").unwrap();
    }
    folder
}

#[test]
fn the_refusal_is_one_sentence_with_both_pythons_and_the_remedy() {
    let other = other_installation();
    let (major, minor) = build_minor();
    let venv = tempfile::tempdir().unwrap();
    let (at, prefix) = (venv.path().display(), other.path().display());
    fs::write(venv.path().join("pyvenv.cfg"), format!("home = {prefix}/bin\nversion = {major}.{minor}.99\n")).unwrap();
    fs::create_dir_all(venv.path().join(format!("lib/python{major}.{minor}/site-packages"))).unwrap();
    fs::create_dir(venv.path().join("bin")).unwrap();
    symlink(other.path().join(format!("bin/python{major}.{minor}")), venv.path().join("bin/python")).unwrap();

    let said = |settings: &PythonSettings| preflight::plan(settings).err().expect("it is refused").to_string();
    let stdlib = other.path().join(Layout::of_build().unwrap().stdlib);
    let stdlib = stdlib.display();
    let running = format!("than the running one (version {}, library \"{}\")", version(), library().unwrap().display());
    let program = format!("{prefix}/bin/python{major}.{minor}");
    let build =
        format!("or build for the other installation with PYTHON={program} (make) or PYO3_PYTHON={program} (cargo)");
    assert_eq!(
        said(&home(venv.path().into())),
        format!(
            "cannot start Python: virtual environment \"{at}\" was made by another installation of Python (version \
             {major}.{minor}.99, home \"{prefix}/bin\", standard library \"{stdlib}\") {running}; recreate the environment \
             with \"{BUILD_EXECUTABLE} -m venv --clear {at}\", {build}"
        )
    );
    assert_eq!(
        said(&home(other.path().into())),
        format!(
            "cannot start Python: wsgi_python_home \"{prefix}\" is another installation of Python (standard library \
             \"{stdlib}\") {running}; remove the setting, or name a virtual environment made with \
             \"{BUILD_EXECUTABLE}\", {build}"
        )
    );
    let executable = PythonSettings { executable: Some(program.clone().into()), ..PythonSettings::default() };
    assert_eq!(
        said(&executable),
        format!(
            "cannot start Python: \"{program}\" belongs to another installation of Python (standard library \"{stdlib}\") \
             {running}; remove the setting, or name a virtual environment made with \"{BUILD_EXECUTABLE}\", \
             {build}"
        )
    );
}
