//! Writes the list of the checklists that are compiled in: every `checklists/*.yaml`, sorted by name.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("checklists");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder checklists/ is part of the project")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    let mut list = String::from("[");
    for path in paths {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        writeln!(list, "({name:?}, include_str!({:?})),", path.display().to_string()).expect("a String takes all");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("checklists.rs");
    fs::write(out, list).expect("OUT_DIR can be written");
}
