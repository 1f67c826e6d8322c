//! Tests of whole systems: the real binaries, a real PostgreSQL, Redis and registry, devices over HTTP.
//!
//! * Owns: nothing. The tests are in `tests/`.
//! * Never: reaches into a service; what it asserts is read through the API, or from the store.
//! * Woken by: nothing.
//! * Test it with: `scripts/test -p windlass-system-tests`, which builds the binaries first.
