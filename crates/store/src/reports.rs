//! Reports of devices and what is made of them.
