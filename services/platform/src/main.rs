//! The one binary; everything it does is in `cli`.

fn main() -> std::process::ExitCode {
    platform::cli::main()
}
