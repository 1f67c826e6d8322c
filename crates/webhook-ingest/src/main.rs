//! The `webhook-ingest` service: see the library.

fn main() -> std::process::ExitCode {
    windlass_webhook_ingest::main()
}
