//! The `state-api` service: see the library.

fn main() -> std::process::ExitCode {
    windlass_state_api::main()
}
