//! Tells the program how it was built.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["PROFILE", "OPT_LEVEL"] {
        let value = std::env::var(name).unwrap_or_else(|_| "unknown".into());
        println!("cargo::rustc-env=DOCTOR_{name}={value}");
    }
}
