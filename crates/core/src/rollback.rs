//! Where a failed device goes back to.
