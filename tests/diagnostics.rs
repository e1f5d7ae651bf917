//! What the compiler says of a verifier that is none.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env,
    ffi::OsStr,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

struct Case {
    name: &'static str,
    code: &'static str,
    expected: &'static [&'static str],
}

#[test]
fn the_compiler_says_what_is_missing() {
    // The cases would prove nothing if nothing compiled.
    compile(
        "pub fn f(v: jwt::JwtVerifier<()>) {
            WsAuthLayer::new(verifier_fn(async |_: Token| Ok(Verified::new(()))).or(CachedVerifier::new(v)));
        }",
    )
    .unwrap();
    for Case { name, code, expected } in [
        Case {
            name: "a result",
            code: "pub fn f(v: Result<jwt::JwtVerifier<()>, ConfigError>) { WsAuthLayer::new(v); }",
            expected: &[
                "ConfigError>` is not a verifier",
                "this does not implement `Verifier`",
                "a builder or a `Result` is not a verifier yet: `JwtVerifier::builder()…build()?`",
            ],
        },
        Case {
            name: "claims that cannot be read",
            code: "pub struct Claims; pub fn f(v: jwt::JwtVerifier<Claims>) { WsAuthLayer::new(v); }",
            expected: &[
                "JwtVerifier<Claims>` is not a verifier",
                "in `JwtVerifier` and `TicketVerifier` also `serde::de::DeserializeOwned`, in `CachedVerifier` also `Clone`",
            ],
        },
        Case {
            name: "claims that cannot be cloned, in a cache",
            code: "pub struct Claims; pub fn f(v: CachedVerifier<Claims>) { WsAuthLayer::new(v); }",
            expected: &["CachedVerifier<Claims>` is not a verifier", "in `CachedVerifier` also `Clone`"],
        },
        Case {
            name: "the same, where the cache is made",
            code: "pub struct Claims; pub fn f(v: jwt::JwtVerifier<Claims>) { CachedVerifier::new(v); }",
            expected: &["the trait bound `Claims: Clone` is not satisfied"],
        },
        Case {
            name: "the second of two verifiers",
            code: "pub struct Mine; pub fn f(v: jwt::JwtVerifier<()>) { v.or(Mine); }",
            expected: &["Mine` is not a verifier", "becomes a verifier with `verifier_fn(..)`"],
        },
        Case {
            name: "a function over a text",
            code: "pub fn f() { verifier_fn(async |_: String| Ok(Verified::new(()))); }",
            expected: &[
                "a function in `verifier_fn` cannot take `String`",
                "take a `Token`, or an `OwnedVerifyInput` for the request and the time too",
            ],
        },
        Case {
            name: "a borrowed input in the adapter",
            code: "pub fn f() { verifier_fn(async |_: VerifyInput<'_>| Ok(Verified::new(()))); }",
            expected: &[
                "a function in `verifier_fn` cannot take `",
                "VerifyInput<'_>`",
                "a function over a borrowed `VerifyInput<'_>` is a verifier without `verifier_fn`",
            ],
        },
        Case {
            name: "a capture that cannot be cloned",
            code: "pub struct Handle; pub fn f(handle: Handle) {
                verifier_fn(async move |_: Token| { let _ = &handle; Ok(Verified::new(())) });
            }",
            expected: &["the trait bound `Handle: Clone` is not satisfied"],
        },
        Case {
            name: "a check that holds what is not `Send`",
            code: "pub fn f(v: jwt::JwtVerifier<()>) { v.authorize_async(async |_, _| {
                let held = std::rc::Rc::new(());
                std::future::ready(()).await;
                drop(held);
                Ok(())
            }); }",
            expected: &["future cannot be sent between threads safely", "`held` maybe used later"],
        },
    ] {
        let said = compile(code).unwrap_err();
        for expected in expected {
            assert!(said.contains(expected), "{name}: {expected}\n{said}");
        }
    }
}

/// Compiles a library that uses the crate. Fails with what the compiler says.
fn compile(code: &str) -> Result<(), String> {
    let (library, dependencies) = library();
    let mut compiler = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--crate-name=user",
            "--emit=metadata",
            "--color=never",
            "--verbose",
        ])
        .args([OsStr::new("--out-dir"), env!("CARGO_TARGET_TMPDIR").as_ref()])
        .arg(format!("--extern=axum_ws_auth={}", library.display()))
        .arg(format!("-Ldependency={}", dependencies.display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rustc runs");
    let source = format!("use axum_ws_auth::*;\n{code}\n");
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The library that this test was linked with: the one that was built last. It lies beside the test, with all that it
/// depends on.
fn library() -> (PathBuf, PathBuf) {
    let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
    let built = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("libaxum_ws_auth-") && name.ends_with(".rlib")
    };
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    (files.filter(is_library).max_by_key(built).expect("the library lies beside its tests"), folder)
}
