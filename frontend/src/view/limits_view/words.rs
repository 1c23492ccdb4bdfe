//! Quotas in words, and where a client stands as time goes on. Pure.

use freshet_wire::{EngineState, LimitCounts, LimitMoment, LimitStatus, OnFailure, Quota, Standing};

use super::super::format;

/// "100 requests a second, at most 200 at once".
pub fn words(quota: Quota) -> String {
    let mut out = rate(quota, "request");
    if !is_none(quota) {
        out.push_str(", at most ");
        out.push_str(&format::count(quota.quota.into()));
        out.push_str(" at once");
    }
    out
}

fn is_none(quota: Quota) -> bool {
    quota.quota == 0 || quota.window_s == 0
}

/// "100 requests a second".
pub fn rate(quota: Quota, of: &str) -> String {
    if is_none(quota) {
        return String::from("no limit");
    }
    let in_s = |seconds: f64| f64::from(quota.quota) * seconds / f64::from(quota.window_s);
    let units = [
        (1.0, "a second"),
        (60.0, "a minute"),
        (3600.0, "an hour"),
        (86_400.0, "a day"),
    ];
    let unit = units.into_iter().find(|(seconds, _)| in_s(*seconds) >= 1.0);
    let (seconds, unit) = unit.unwrap_or(units[3]);
    let rate = in_s(seconds);
    let figure = if rate.fract() == 0.0 {
        format::count(rate as u64)
    } else {
        format::fixed(rate, 1)
    };
    [&*figure, " ", of, if rate == 1.0 { " " } else { "s " }, unit].concat()
}

/// How many requests would be admitted at that moment, if nothing more is spent: each is back after window / quota.
pub fn left_at(standing: &Standing, now_us: f64) -> u32 {
    let Quota { quota, window_s } = standing.quota;
    if window_s == 0 {
        return quota;
    }
    let spent_us = (standing.full_us as f64 - now_us).max(0.0);
    let spent = (spent_us * f64::from(quota) / (f64::from(window_s) * 1e6)).ceil();
    // A cast of a float stops at the bounds.
    quota.saturating_sub(spent as u32)
}

/// At most a fifth is left: as the server counts who is near a limit.
pub fn is_near(standing: &Standing, now_us: f64) -> bool {
    standing.quota.quota > 0 && u64::from(left_at(standing, now_us)) * 5 <= u64::from(standing.quota.quota)
}

/// "3 of 20, whole in 2 s"
pub fn stands(standing: &Standing, now_us: f64) -> String {
    let mut out = [
        &*format::count(left_at(standing, now_us).into()),
        " of ",
        &format::count(standing.quota.quota.into()),
    ]
    .concat();
    let whole_us = standing.full_us as f64 - now_us;
    if whole_us > 0.0 {
        out.push_str(", whole in ");
        out.push_str(&format::ago(whole_us + 999e3));
    }
    out
}

/// What holds while the engine is not as it should be.
pub fn trouble(limits: &LimitStatus) -> String {
    if limits.engine.state == EngineState::Up {
        return String::new();
    }
    let holds = match limits.on_failure {
        Some(OnFailure::Closed) => "Until it is back, what needs a quota is refused with 503 (fail closed).",
        Some(OnFailure::Local) => "Until it is back, each process limits by itself (fail open).",
        None => "",
    };
    let without = format::count(limits.without_engine);
    [
        &*limits.engine.name,
        " is away: ",
        &limits.engine.detail,
        ". ",
        holds,
        " Checks without it: ",
        &without,
    ]
    .concat()
}

/// What was counted between two looks.
pub fn between(then: &LimitCounts, now: &LimitCounts) -> [u64; 3] {
    [
        now.allowed.saturating_sub(then.allowed),
        now.limited.saturating_sub(then.limited),
        (now.shed + now.denied).saturating_sub(then.shed + then.denied),
    ]
}

/// Seconds that the page keeps: more than the server tells.
pub const KEPT_S: usize = 180;

/// Takes over the seconds that are new.
pub fn keep(moments: &mut Vec<LimitMoment>, told: &[LimitMoment], now_us: f64) {
    let last = moments.last().map_or(i64::MIN, |moment| moment.at_us);
    moments.extend(told.iter().filter(|moment| moment.at_us > last));
    let oldest_us = now_us - KEPT_S as f64 * 1e6;
    moments.retain(|moment| moment.at_us as f64 > oldest_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(quota: u32, window_s: u32) -> Quota {
        Quota { quota, window_s }
    }

    #[test]
    fn a_quota_is_said_as_a_rate_and_what_goes_at_once() {
        assert_eq!(words(quota(200, 2)), "100 requests a second, at most 200 at once");
        assert_eq!(words(quota(60, 60)), "1 request a second, at most 60 at once");
        assert_eq!(words(quota(5, 2)), "2.5 requests a second, at most 5 at once");
        assert_eq!(words(quota(2, 60)), "2 requests a minute, at most 2 at once");
        assert_eq!(words(quota(1, 3600)), "1 request an hour, at most 1 at once");
        assert_eq!(words(quota(0, 60)), "no limit");
    }

    #[test]
    fn what_is_left_grows_by_itself_until_the_quota_is_whole() {
        let standing = Standing {
            policy: "try-burst".to_owned(),
            quota: quota(20, 4),
            remaining: 0,
            full_us: 4_000_000,
            retry_after_us: 200_000,
        };
        assert_eq!(left_at(&standing, 0.0), 0);
        assert_eq!(left_at(&standing, 199_999.0), 0);
        assert_eq!(left_at(&standing, 200_000.0), 1);
        assert_eq!(left_at(&standing, 4_000_000.0), 20);
        assert_eq!(left_at(&standing, 9e9), 20);
        assert!(is_near(&standing, 800_000.0) && !is_near(&standing, 1_000_000.0));
        assert_eq!(
            stands(&standing, 3_000_000.0).replace('\u{a0}', " "),
            "15 of 20, whole in 1 s"
        );
    }

    #[test]
    fn seconds_are_taken_over_once_and_let_go_when_they_are_old() {
        let moment = |s: i64| LimitMoment {
            at_us: s * 1_000_000,
            counts: LimitCounts::default(),
        };
        let mut kept = Vec::new();
        keep(&mut kept, &[moment(1), moment(2)], 2e6);
        keep(&mut kept, &[moment(1), moment(2), moment(3)], 3e6);
        assert_eq!(kept.len(), 3);
        keep(&mut kept, &[], 182.5e6);
        assert_eq!(kept.len(), 1);
    }
}
