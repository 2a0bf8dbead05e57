//! `replay TARGET FILE...`: runs a target on files, and on all files in folders, without libFuzzer. For measuring coverage.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let name = arguments.next().expect("the name of a target");
    let (_, run) = wsgi_fuzz::TARGETS.iter().find(|(target, _)| name == *target).expect("a target of that name");
    arguments.flat_map(|path| files(Path::new(&path))).for_each(|file| run(&fs::read(file).expect("a file")));
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = path.read_dir().expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect()
}
