//! What steps failed for no reason of a service's, and are not tried for a while.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use windlass_reconcile::observed::Aside;
use windlass_reconcile::settings::Settings;

/// By the steps' subjects, with how often in a row.
#[derive(Debug, Default)]
pub(super) struct AsideList {
    subjects: BTreeMap<String, (Aside, u32)>,
}

impl AsideList {
    /// Puts a subject aside, for twice as long each time.
    pub(super) fn put(
        &mut self,
        subject: String,
        message: &str,
        settings: &Settings,
        now: DateTime<Utc>,
    ) {
        let times = self.subjects.get(&subject).map_or(0, |(_, times)| *times);
        let seconds = (u64::from(settings.retry_first_seconds) << times.min(20))
            .min(u64::from(settings.retry_longest_seconds));
        let aside = Aside {
            message: message.to_owned(),
            until: now + TimeDelta::seconds(i64::try_from(seconds).unwrap_or(3600)),
        };
        self.subjects
            .insert(subject, (aside, times.saturating_add(1)));
    }

    /// What is aside now. What is no more is remembered as having failed, until it goes well.
    pub(super) fn at(&self, now: DateTime<Utc>) -> BTreeMap<String, Aside> {
        self.subjects
            .iter()
            .filter(|(_, (aside, _))| aside.until > now)
            .map(|(subject, (aside, _))| (subject.clone(), aside.clone()))
            .collect()
    }

    /// When the next one can be tried.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        let now = Utc::now();
        self.subjects
            .values()
            .map(|(aside, _)| aside.until)
            .filter(|until| *until > now)
            .min()
    }

    /// It went well.
    pub(super) fn clear(&mut self, subject: &str) {
        self.subjects.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_put_aside_for_longer_each_time_until_it_goes_well() {
        let settings = Settings {
            retry_first_seconds: 10,
            retry_longest_seconds: 60,
            ..Settings::default()
        };
        let mut list = AsideList::default();
        let mut waits = Vec::new();
        let now = Utc::now();
        for _ in 0..5 {
            list.put("1/1".to_owned(), "no", &settings, now);
            waits.push((list.at(now)["1/1"].until - now).num_seconds());
        }
        assert_eq!(waits, [10, 20, 40, 60, 60]);
        assert!(list.at(now + TimeDelta::seconds(61)).is_empty());
        list.clear("1/1");
        assert_eq!(list.next(), None);
    }
}
