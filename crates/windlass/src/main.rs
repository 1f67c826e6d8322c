//! The `windlass` program: see the library.

fn main() -> std::process::ExitCode {
    windlass::main()
}
