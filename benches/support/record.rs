//! The record of instruction counts.

use std::{collections::HashMap, env, fs, io, process::Command};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

pub(crate) struct Record {
    /// The compiler and the processor.
    pub(crate) made_by: String,
    counts: HashMap<String, u64>,
}

impl Record {
    /// Empty if the file does not exist.
    pub(crate) fn read() -> io::Result<Self> {
        let text = match fs::read_to_string(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let (made_by, rest) = text.split_once('\n').unwrap_or(("nothing", ""));
        let counts = rest.lines().filter_map(|line| line.split_once(' '));
        let counts = counts.filter_map(|(count, name)| Some((name.to_owned(), count.parse().ok()?))).collect();
        Ok(Self { made_by: made_by.to_owned(), counts })
    }

    pub(crate) fn write(counts: &[(&str, u64)]) -> io::Result<()> {
        let lines: String = counts.iter().map(|(name, count)| format!("{count} {name}\n")).collect();
        fs::write(FILE, format!("{}; {}\n{lines}", rustc(), processor()))
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.counts.get(name).copied()
    }

    pub(crate) fn is_of_this_compiler(&self) -> bool {
        self.made_by.starts_with(&rustc())
    }
}

pub(crate) fn rustc() -> String {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    output.map_or_else(|_| "rustc".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The processor's name. Valgrind emulates another one, with a subset of its instructions.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    line.trim_start_matches([' ', '\t', ':']).to_owned()
}
