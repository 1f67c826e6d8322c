//! Devices, fleets, tags and provisioning keys.
