//! The outcomes as text, in Markdown.

use crate::{day::Day, outcome::Outcome};

pub(crate) fn table(day: &Day, outcomes: &[Outcome]) -> String {
    let mut lines = vec![
        "| | valid tokens rejected | revoked tokens accepted | source calls per second: steady, peak | throttled | converged: median, longest |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(outcomes.iter().map(|outcome| row(day, outcome)));
    lines.join("\n")
}

fn row(day: &Day, outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    let share = 100.0 * counts.rejected as f64 / counts.verified as f64;
    let rejected = match counts.rejected {
        0 => format!("**0** of {}", counts.verified),
        rejected => format!("{rejected} of {} ({share:.3} %)", counts.verified),
    };
    let revoked = format!(
        "{}, for {:.1} s",
        counts.revoked_accepted,
        counts.revoked_accepted_for.as_secs_f64()
    );
    let (steady, peak) = (outcome.steady(day), outcome.peak(day));
    let calls = format!("{steady:.1}, {peak:.1} ({:.1} x)", peak / steady);
    let (median, longest) = outcome.converged_in();
    let (median, longest) = (median.as_secs(), longest.as_secs());
    let name = outcome.variant.name;
    let throttled = outcome.throttled;
    format!("| {name} | {rejected} | {revoked} | {calls} | {throttled} | {median} s, {longest} s |")
}

pub(crate) fn details(outcomes: &[Outcome]) -> String {
    let lines = outcomes.iter().map(|outcome| {
        let counts = &outcome.counts;
        let mut line = format!(
            "{}: {} calls waited for a key; {} tokens of the revoked key refused; {} of {} junk tokens accepted",
            outcome.variant.name,
            counts.waited,
            counts.revoked_refused,
            counts.junk_accepted,
            counts.junk
        );
        if outcome.variant.outage {
            line += &format!(
                "; {} valid tokens rejected by replicas that were cut off, {} by others; the last of those that \
                 were cut off had the key {} s after the rotation",
                counts.rejected - counts.rejected_connected,
                counts.rejected_connected,
                outcome.all_converged_in().as_secs(),
            );
        }
        if let Some((first, last)) = counts.rejected_between {
            line += &format!(
                "; the first valid token rejected at {} s, the last at {} s",
                first.as_secs(),
                last.as_secs()
            );
        }
        line + "\n"
    });
    lines.collect()
}
