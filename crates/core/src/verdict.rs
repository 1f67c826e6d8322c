//! Whether a device is healthy, failed or unreachable on its new image.
