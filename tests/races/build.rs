//! Has the sources of the crate use the locks and atomics of `shuttle`.

fn main() {
    println!("cargo::rustc-cfg=shuttle");
}
