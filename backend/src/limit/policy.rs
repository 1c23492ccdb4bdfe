//! The policies in force: two a class of routes, and the networks for which they do not hold.

use freshet_wire::{LimitSettings, Quota, RouteClass};

use crate::limit::Client;
use crate::network::Network;

/// A policy, ready to be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub class: RouteClass,
    /// The short-term one of its class; the other is the long-term one.
    pub is_burst: bool,
    pub quota: Quota,
    /// The time in which one request comes back, rounded up; T in [`super::gcra`].
    pub interval_us: i64,
}

/// How many policies there are; [`Policy::index`] is below it.
pub const POLICIES: usize = RouteClass::ALL.len() * 2;

impl Policy {
    pub fn new(class: RouteClass, is_burst: bool, quota: Quota) -> Self {
        let interval_us = (i64::from(quota.window_s) * 1_000_000 + i64::from(quota.quota) - 1)
            .checked_div(i64::from(quota.quota))
            .unwrap_or(1);
        Self {
            class,
            is_burst,
            quota,
            interval_us: interval_us.max(1),
        }
    }

    /// As in the headers.
    pub fn name(&self) -> &'static str {
        match (self.class, self.is_burst) {
            (class, false) => class.name(),
            (RouteClass::Read, true) => "read-burst",
            (RouteClass::Publish, true) => "publish-burst",
            (RouteClass::Connect, true) => "connect-burst",
            (RouteClass::StreamMessage, true) => "stream-message-burst",
            (RouteClass::Admin, true) => "admin-burst",
            (RouteClass::Try, true) => "try-burst",
        }
    }

    pub fn index(&self) -> usize {
        self.class as usize * 2 + usize::from(self.is_burst)
    }

    /// What `cost` requests move the TAT on by.
    pub fn cost_us(&self, cost: u32) -> i64 {
        self.interval_us.saturating_mul(i64::from(cost))
    }

    /// How far the TAT may be ahead: the whole quota.
    pub fn tolerance_us(&self) -> i64 {
        self.cost_us(self.quota.quota)
    }
}

/// The policies and networks of one version of the settings.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The version of the settings that they are of.
    pub version: u64,
    classes: [Vec<Policy>; RouteClass::ALL.len()],
    exempt: Vec<Network>,
    denied: Vec<Network>,
    pub mask: bool,
}

impl Rules {
    /// Settings that were validated; what is no network in them would be passed over.
    pub fn new(version: u64, settings: &LimitSettings) -> Self {
        let networks = |texts: &[String]| {
            let networks = texts.iter().filter_map(|text| text.parse::<Network>().ok());
            networks.map(Network::of_clients).collect()
        };
        Self {
            version,
            classes: RouteClass::ALL.map(|class| {
                let quotas = settings.of(class);
                let both = [
                    Policy::new(class, false, quotas.sustained),
                    Policy::new(class, true, quotas.burst),
                ];
                both.into_iter().filter(|policy| policy.quota.quota > 0).collect()
            }),
            exempt: networks(&settings.exempt),
            denied: networks(&settings.denied),
            mask: settings.mask,
        }
    }

    /// The policies of a class that are on.
    pub fn of(&self, class: RouteClass) -> &[Policy] {
        &self.classes[class as usize]
    }

    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.classes.iter().flatten()
    }

    /// No quota holds for it.
    pub fn is_exempt(&self, client: Client) -> bool {
        self.exempt.iter().any(|network| network.contains(client.address()))
    }

    /// It is refused.
    pub fn is_denied(&self, client: Client) -> bool {
        self.denied.iter().any(|network| network.contains(client.address()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_name_and_a_place_of_its_own() {
        let rules = Rules::new(1, &LimitSettings::default());
        let mut places: Vec<_> = rules.policies().map(Policy::index).collect();
        places.sort_unstable();
        assert_eq!(places, (0..POLICIES).collect::<Vec<_>>());
        let mut names: Vec<_> = rules.policies().map(Policy::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), POLICIES);
    }

    #[test]
    fn a_quota_of_nothing_is_no_policy_and_networks_are_told_apart() {
        let mut settings = LimitSettings::default();
        settings.read.burst.quota = 0;
        settings.exempt = vec!["192.0.2.0/24".to_owned()];
        settings.denied = vec!["2001:db8::/32".to_owned()];
        let rules = Rules::new(1, &settings);
        assert_eq!(rules.of(RouteClass::Read).len(), 1);
        assert_eq!(rules.of(RouteClass::Publish).len(), 2);
        let client = |text: &str| Client::of(text.parse().unwrap());
        assert!(rules.is_exempt(client("192.0.2.9")) && !rules.is_exempt(client("192.0.3.9")));
        assert!(rules.is_denied(client("2001:db8:1::9")) && !rules.is_denied(client("2001:db9::")));
    }

    #[test]
    fn a_single_address_of_ipv6_means_the_client_that_it_is_of() {
        let settings = LimitSettings {
            exempt: vec!["::1".to_owned()],
            denied: vec!["2001:db8::5".to_owned(), "2001:db8:0:1::/96".to_owned()],
            ..LimitSettings::default()
        };
        let rules = Rules::new(1, &settings);
        let client = |text: &str| Client::of(text.parse().unwrap());
        assert!(rules.is_exempt(client("::1")) && !rules.is_exempt(client("127.0.0.1")));
        assert!(rules.is_denied(client("2001:db8::5")) && rules.is_denied(client("2001:db8:0:1::7")));
        assert!(!rules.is_denied(client("2001:db8:0:2::5")));
    }
}
