//! The `rollout-planner` service: see the library.

fn main() -> std::process::ExitCode {
    windlass_rollout_planner::main()
}
