//! What operators talk to: policies, rollouts, images, devices, events.
//!
//! Handlers read and store; what they store is acted on by the services whose work it is. Every one
//! of them takes [`Operator`](crate::auth::Operator) first, or [`By`](crate::auth::By) with what is sent,
//! which keeps everyone else out.
#![allow(
    unused_qualifications,
    reason = "utoipa's macros qualify the types of queries"
)]

mod body;
mod commands;
mod device_logs;
mod devices;
mod freezes;
mod holds;
mod images;
mod operator_keys;
mod page;
mod penalties;
mod plans;
mod policies;
mod policy_tests;
mod preview;
mod provisioning_keys;
mod quarantine;
mod rollouts;
mod strict;
mod targets;
mod triggers;
mod waiting;
mod why;

use crate::routes::Routes;

/// The routes of operators.
pub(crate) fn configure(routes: &mut impl Routes) {
    routes
        .service(policies::list)
        .service(policies::create)
        .service(policies::get)
        .service(policies::update)
        .service(policies::delete)
        .service(policy_tests::all)
        .service(policy_tests::one)
        .service(policies::enable)
        .service(policies::disable)
        .service(rollouts::list)
        .service(rollouts::get)
        .service(rollouts::devices)
        .service(rollouts::events)
        .service(commands::pause)
        .service(commands::resume)
        .service(commands::cancel)
        .service(commands::approve)
        .service(commands::rollback_all)
        .service(commands::next_batch)
        .service(commands::retry)
        .service(commands::retry_device)
        .service(commands::override_freeze)
        .service(commands::rollback_batch)
        .service(commands::rollback_device)
        .service(freezes::list)
        .service(freezes::create)
        .service(freezes::get)
        .service(freezes::lift)
        .service(freezes::stop_all)
        .service(freezes::lift_stop)
        .service(holds::list)
        .service(holds::create)
        .service(holds::get)
        .service(holds::lift)
        .service(triggers::create)
        .service(triggers::get)
        .service(plans::get)
        .service(plans::apply)
        .service(images::versions)
        .service(quarantine::list)
        .service(quarantine::lift)
        .service(penalties::list)
        .service(penalties::lift)
        .service(operator_keys::create)
        .service(operator_keys::list)
        .service(operator_keys::revoke)
        .service(provisioning_keys::create)
        .service(provisioning_keys::list)
        .service(provisioning_keys::revoke)
        .service(devices::list)
        .service(devices::get)
        .service(devices::change)
        .service(devices::delete)
        .service(devices::current_state)
        .service(devices::fleets)
        .service(device_logs::list)
        .service(targets::get)
        .service(targets::put)
        .service(why::device)
        .service(why::rollout)
        .service(why::image)
        .service(crate::sse::serve)
        .service(crate::openapi::serve);
}
