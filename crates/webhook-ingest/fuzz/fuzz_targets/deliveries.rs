//! No delivery makes a parser panic, and what it reads holds what `senders::probe` says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_webhook_fuzz::senders::probe;

fuzz_target!(|input: &[u8]| {
    if let Some(law) = probe::broken(input) {
        panic!("{law}");
    }
});
