//! Counts instructions with callgrind.

use std::{env, fs, hint::black_box, process::Command};

use super::{PREFIXES, Subject, control, prefixes, signature, static_token, ticket};

/// How often each is counted. The count at this place is compared, from the lowest: tables with random seeds may take
/// longer, and so may searches in text that begins at another address.
const REPEATS: u8 = 25;
const COMPARED: usize = 3;
/// What counts as no difference. `==` takes hundreds more for the last byte of these secrets than for the first.
const TOLERANCE: u64 = 100;

/// Not the authorization of a push: axum's router takes a few hundred instructions more or less each time.
fn counted_subjects() -> [Subject; 4] {
    [control(), static_token(), signature(), ticket()]
}

/// Callgrind counts only in this function, which it finds by its name.
#[inline(never)]
fn counted(attempt: &dyn Fn() -> bool) -> bool {
    attempt()
}

/// Callgrind writes the count down when this function returns. It cannot do both with one function.
#[inline(never)]
fn recorded(attempt: &dyn Fn() -> bool) -> bool {
    black_box(counted(attempt))
}

#[test]
#[ignore = "is started by the test below, under valgrind"]
fn is_counted() {
    for subject in counted_subjects() {
        // All live at the same time, so each has other addresses.
        let mut attempts = Vec::new();
        for variant in 0..REPEATS {
            attempts.extend(prefixes(&subject.secret).map(|matching| subject.attempt(matching, variant)));
        }
        // The first ones fill caches.
        attempts.iter().take(PREFIXES).for_each(|attempt| assert!(!attempt(), "{}", subject.name));
        attempts.iter().for_each(|attempt| assert!(!recorded(&**attempt), "{}", subject.name));
    }
}

#[test]
fn a_refusal_takes_as_many_instructions_however_much_of_a_secret_is_right() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("not counted: valgrind is missing; `apt-get install valgrind` brings it");
        return;
    }
    let counts = count();
    let subjects = counted_subjects();
    let attempts = usize::from(REPEATS) * PREFIXES;
    assert_eq!(counts.len(), subjects.len() * attempts);
    for (Subject { name, .. }, counts) in subjects.iter().zip(counts.chunks_exact(attempts)) {
        let counts: Vec<u64> = (0..PREFIXES)
            .map(|prefix| {
                let mut counts: Vec<_> = counts.iter().copied().skip(prefix).step_by(PREFIXES).collect();
                counts.sort_unstable();
                counts[COMPARED]
            })
            .collect();
        let is_constant = counts.iter().all(|count| count.abs_diff(counts[0]) <= TOLERANCE);
        assert_eq!(is_constant, *name != control().name, "{name}: {counts:?}");
    }
}

/// Runs this program again under callgrind, which writes a file for each attempt.
fn count() -> Vec<u64> {
    let folder = env::temp_dir().join(format!("axum-ws-auth-constant-time-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=constant_time::instructions::counted*",
            "--dump-after=constant_time::instructions::recorded*",
        ])
        .arg(format!("--callgrind-out-file={}/out", folder.display()))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "instructions::is_counted", "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = (1..).map_while(|number| fs::read_to_string(folder.join(format!("out.{number}"))).ok());
    let total = |dump: String| {
        let totals = dump.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        totals.and_then(|total| total.trim().parse().ok()).unwrap_or(0)
    };
    let counts: Vec<u64> = counts.map(total).collect();
    fs::remove_dir_all(&folder).unwrap();
    counts
}
