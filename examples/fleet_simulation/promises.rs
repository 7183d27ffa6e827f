//! What must be true of the outcomes.

use std::{fmt, time::Duration};

use crate::{
    day::{Day, POLL, REVOKED_EVERYWHERE_IN},
    outcome::Outcome,
};

/// A poll takes up to its interval and a slow answer; of those a few follow one upon another.
const CONVERGED_IN: Duration = POLL.saturating_add(Duration::from_secs(15));

/// `UnknownKey`'s default.
const COOL_DOWN: Duration = Duration::from_secs(10);

pub(crate) struct Promise {
    what: String,
    pub(crate) is_kept: bool,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_kept { "kept" } else { "BROKEN" };
        write!(f, "{verdict}: {}", self.what)
    }
}

pub(crate) fn judge(day: &Day, outcomes: &[Outcome]) -> Vec<Promise> {
    outcomes
        .iter()
        .flat_map(|outcome| of_one(day, outcome))
        .collect()
}

fn of_one(day: &Day, outcome: &Outcome) -> Vec<Promise> {
    let variant = outcome.variant;
    let counts = &outcome.counts;
    let promise = |is_kept: bool, what: String| Promise {
        what: format!("{}: {what}", variant.name),
        is_kept,
    };
    let is_enough = counts.verified >= u64::from(day.rotations * day.tokens_per_second) * 1_000;
    let mut promises = vec![
        promise(
            is_enough,
            format!("{} valid tokens were verified", counts.verified),
        ),
        promise(
            outcome.has_converged(day),
            "every replica came to use every key".to_owned(),
        ),
        promise(
            counts.junk > 0 && counts.junk_accepted == 0,
            format!(
                "{} of {} junk tokens accepted",
                counts.junk_accepted, counts.junk
            ),
        ),
    ];
    if !variant.has_all() {
        if !variant.pending && !variant.delayed && !variant.on_unknown_key {
            let what = format!(
                "{} valid tokens are lost without any of it",
                counts.rejected
            );
            promises.push(promise(counts.rejected_connected > 0, what));
        }
        return promises;
    }
    let rejected = format!(
        "{} valid tokens rejected, {} of them by replicas that can reach the store",
        counts.rejected, counts.rejected_connected
    );
    let has_loss = if variant.outage {
        counts.rejected_connected > 0
    } else {
        counts.rejected > 0
    };
    promises.push(promise(!has_loss, rejected));
    let accepted_for = counts.revoked_accepted_for;
    promises.push(promise(
        counts.revoked_refused > 0 && accepted_for <= REVOKED_EVERYWHERE_IN + Duration::from_secs(1),
        format!("revoked tokens accepted for {accepted_for:.1?}, of which the operator took {REVOKED_EVERYWHERE_IN:?}"),
    ));
    if variant.junk_everywhere {
        // Each replica bounds what junk makes of it: one call in a cool-down. Of all together that is
        // more than the steady rate.
        let bound = day.replicas as f64 / COOL_DOWN.as_secs_f64() + 3.0 * outcome.steady(day);
        let peak = outcome.peak_over(day, COOL_DOWN);
        let what = format!(
            "{peak:.1} source calls per second in the busiest {COOL_DOWN:?}, of {bound:.1} that the cool-down allows"
        );
        promises.push(promise(peak <= bound, what));
        return promises;
    }
    let (steady, peak) = (outcome.steady(day), outcome.peak(day));
    promises.push(promise(
        peak < 3.0 * steady,
        format!("{peak:.1} source calls per second at the peak, less than 3 x {steady:.1}"),
    ));
    promises.push(promise(
        outcome.throttled == 0,
        format!("{} calls throttled", outcome.throttled),
    ));
    let (_, longest) = outcome.converged_in();
    promises.push(promise(
        longest <= CONVERGED_IN,
        format!("who can reach the store had each key after {longest:.1?} at most"),
    ));
    promises
}
