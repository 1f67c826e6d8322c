//! Whether what a device reports is the image it was to run.
