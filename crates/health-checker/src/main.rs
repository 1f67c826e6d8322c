//! The `health-checker` service: see the library.

fn main() -> std::process::ExitCode {
    windlass_health_checker::main()
}
