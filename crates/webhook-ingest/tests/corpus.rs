//! Every delivery that the fuzzer has kept, on the toolchain of everybody.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

use windlass_webhook_ingest::senders::probe;

#[test]
fn what_must_hold_of_deliveries_holds_of_the_whole_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/deliveries");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        if let Some(law) = probe::broken(&input) {
            panic!("{}: {law}", path.display());
        }
        read += 1;
    }
    assert!(read >= 100, "only {read} deliveries are kept");
}
