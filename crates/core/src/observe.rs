//! Folding a device's reports, one after the other, into what is known of it.
