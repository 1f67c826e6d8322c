//! Checks that health-checker runs: of each device while it is verified, and of a batch as a whole.
//!
//! Whoever runs a check takes it for a while first and asks outside of any transaction; what came
//! out is written only by the one that has it still. So two replicas never run one at the same time,
//! and one that dies in between loses a try and nothing else.

mod devices;
mod gates;

pub use devices::{
    DeviceCheck, DueCheck, Tried, any_due, begin, claim, decide, forget, forget_left_behind,
    of_devices,
};
pub use gates::{
    DueGate, GateTried, any_gate_due, claim_gates, decide_gate, make_gates, without_gates,
};
