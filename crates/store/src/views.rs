//! Listings for the API.
