//! The agent's own program: see the library.

fn main() -> std::process::ExitCode {
    windlass_agent::cli::main()
}
