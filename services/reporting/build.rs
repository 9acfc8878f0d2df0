//! Migrations are built into the crate: a new file among them must build it again.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/reporting");
}
