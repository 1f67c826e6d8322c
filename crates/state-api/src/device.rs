//! What devices talk to: docs/device-protocol.md.

mod asked;
mod body;
mod fields;
mod identity;
mod inflate;
mod json;
mod lane;
mod logs;
mod patience;
mod poll;
mod provision;
mod report;

use crate::routes::Routes;
pub(crate) use body::{held, room};
pub(crate) use identity::unknown;
pub(crate) use lane::Lane;
pub use report::judged;

/// The routes of devices.
pub(crate) fn configure(routes: &mut impl Routes) {
    routes
        // First what is asked most and has nothing in its path to be matched.
        .service(report::take_in)
        .service(poll::answer_poll)
        .service(provision::register)
        .service(provision::key_exchange)
        .service(logs::send);
}
