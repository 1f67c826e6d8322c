//! Webhook deliveries, raw and parsed.
