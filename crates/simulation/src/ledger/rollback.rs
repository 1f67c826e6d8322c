//! The laws about putting devices back.

use super::look::{Change, repository};
use super::{Ledger, digest_of};
use crate::broken::{Broken, Held, Law};
use windlass_core::rollback::Move;
use windlass_types::event::Event;
use windlass_types::ids::{DeviceId, RolloutId};

impl Ledger {
    /// A device is put back: on its own last good image, and nothing else of it is moved.
    pub(super) fn rolled_back(
        &self,
        event: &Event,
        rollout: RolloutId,
        device: DeviceId,
        change: Option<&Change>,
    ) -> Held {
        let moves: Vec<Move> = event
            .data
            .get("services")
            .and_then(|services| serde_json::from_value(services.clone()).ok())
            .unwrap_or_default();
        let Some(change) = change else { return Ok(()) };
        for (app, service) in change.state.services() {
            let was = change
                .state_was
                .services()
                .find(|(a, s)| (*a, s.service_id) == (app, service.service_id))
                .map(|(_, s)| s);
            if was.is_some_and(|was| was.image_name == service.image_name) {
                continue;
            }
            let key = (device, app, service.service_id);
            let to = &service.image_name;
            if let Some(hand) = self.by_hand.get(&key) {
                return Err(Broken::law(
                    Law::PersonsTargetStays,
                    format!(
                        "{device} was put back to {to} from {}, which a person set in version {}",
                        hand.image, hand.version
                    ),
                ));
            }
            if !moves
                .iter()
                .any(|m| (m.app_id, m.service_id) == (app, service.service_id) && m.to == *to)
            {
                return Err(Broken::law(
                    Law::OthersUntouched,
                    format!("{device} was moved to {to} untold"),
                ));
            }
            let mine = self
                .rollouts
                .get(&rollout)
                .map(|r| r.repository.to_string());
            if repository(to) != mine {
                return Err(Broken::law(
                    Law::OthersUntouched,
                    format!("{device} was put back to {to}"),
                ));
            }
            let bad = |digest: &str| {
                self.failed
                    .get(&device)
                    .is_some_and(|failed| failed.contains(digest))
                    || self.quarantined(digest, device)
                    || self.digest_of_rollout(rollout).as_deref() == Some(digest)
            };
            if digest_of(to).is_some_and(bad) {
                return Err(Broken::law(
                    Law::NothingBadShips,
                    format!("{device} was put back to {to}"),
                ));
            }
            let proved = self
                .proved
                .get(&key)
                .into_iter()
                .flatten()
                .rev()
                .find(|image| !digest_of(image).is_some_and(bad));
            let before = self.before.get(&(rollout, key));
            let chosen = before.is_some_and(|before| before.image == *to && !before.by_rollout);
            // Where it proved nothing: what it had before, where that was no rollout's attempt.
            let before_fits =
                before.filter(|b| !b.by_rollout && !digest_of(&b.image).is_some_and(bad));
            let expected = proved.or(before_fits.map(|before| &before.image));
            if expected.is_some_and(|expected| expected != to) && !chosen {
                return Err(Broken::law(
                    Law::BackToOwnLastGood,
                    format!(
                        "{device} was put back to {to}, but proved {proved:?}; before it had {before:?}"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// It was taken back from an image: that is not where it goes next time.
    pub(super) fn no_longer_good(&mut self, event: &Event, device: DeviceId) {
        let moves: Vec<Move> = event
            .data
            .get("services")
            .and_then(|services| serde_json::from_value(services.clone()).ok())
            .unwrap_or_default();
        for one in moves {
            if let Some(proved) = self.proved.get_mut(&(device, one.app_id, one.service_id)) {
                proved.retain(|image| *image != one.from);
            }
        }
    }
}
