//! The `rollback-manager` service: see the library.

fn main() -> std::process::ExitCode {
    windlass_rollback_manager::main()
}
