//! The outcomes as a picture: one self-contained SVG that follows the viewer's colour scheme.

use std::fmt::Write;

use crate::{
    day::{Day, OPENING, POLL},
    outcome::{BUCKET, Outcome},
};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 56.0;
const ROW: f64 = 96.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = LEFT + WIDTH + 70.0;
const TOP: f64 = 64.0;

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .name { font-weight: 600; } .axis { font-size: 10px; fill: #59636e; }
  .frame { stroke: #d1d9e0; fill: none; } .flip { stroke: #d1d9e0; stroke-dasharray: 2 3; }
  .lost { fill: #cf222e; } .calls { stroke: #0969da; fill: none; stroke-linejoin: round; }
  .bound { stroke: #9a6700; stroke-dasharray: 6 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .axis { fill: #9198a1; } .frame, .flip { stroke: #3d444d; }
    .lost { fill: #f85149; } .calls { stroke: #4493f8; } .bound { stroke: #d29922; }
  }";

pub(crate) fn svg(day: &Day, outcomes: &[Outcome]) -> String {
    let height = TOP + ROW * outcomes.len() as f64 + 8.0;
    let width = RIGHT + WIDTH + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Valid tokens rejected and source calls in each variant\">\n<style>{STYLE}\n</style>\n"
    );
    let title = format!(
        "{} replicas, {} rotations (dotted) in {:.1} h, a poll every {} s, seed {}",
        day.replicas,
        day.rotations,
        day.end().as_secs_f64() / 3600.0,
        POLL.as_secs(),
        day.seed,
    );
    label(&mut svg, LEFT, 18.0, "", &title);
    let lost_in = format!(
        "valid tokens rejected, % of those in {} s",
        BUCKET.as_secs()
    );
    label(&mut svg, LEFT, 38.0, "", &lost_in);
    label(
        &mut svg,
        RIGHT,
        38.0,
        "",
        "source calls per second; dashed: 3 x the steady rate",
    );
    let most_lost = outcomes.iter().flat_map(lost).fold(1.0, f64::max);
    for (row, outcome) in outcomes.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        label(&mut svg, LEFT, top + 8.0, "name", outcome.variant.name);
        let base = top + 16.0 + HEIGHT;
        for left in [LEFT, RIGHT] {
            panel(&mut svg, day, left, base);
        }
        bars(&mut svg, &lost(outcome), most_lost, base);
        axis(&mut svg, LEFT, base, &format!("{most_lost:.0} %"));
        calls(&mut svg, day, outcome, base);
    }
    svg += "</svg>\n";
    svg
}

fn lost(outcome: &Outcome) -> Vec<f64> {
    let share = |(all, lost): &(u32, u32)| 100.0 * f64::from(*lost) / f64::from((*all).max(1));
    outcome.counts.over_time.iter().map(share).collect()
}

/// The frame, and a line for each rotation.
fn panel(svg: &mut String, day: &Day, left: f64, base: f64) {
    let top = base - HEIGHT;
    let _ = writeln!(
        svg,
        "<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>"
    );
    for rotation in 0..day.rotations {
        let x = left + WIDTH * day.flip(rotation).as_secs_f64() / day.end().as_secs_f64();
        let _ = writeln!(
            svg,
            "<line class=\"flip\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{base}\"/>"
        );
    }
}

fn bars(svg: &mut String, values: &[f64], most: f64, base: f64) {
    let step = WIDTH / values.len() as f64;
    let mut path = String::new();
    for (bucket, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let x = LEFT + step * bucket as f64;
        // What is there must be seen.
        let height = (HEIGHT * value / most).max(1.0);
        let _ = write!(path, "M{x:.1} {base}v-{height:.1}h{step:.1}v{height:.1}z");
    }
    if !path.is_empty() {
        let _ = writeln!(svg, "<path class=\"lost\" d=\"{path}\"/>");
    }
}

/// The busiest moment of each bucket, on a scale of its own where it is far beyond the bound.
fn calls(svg: &mut String, day: &Day, outcome: &Outcome, base: f64) {
    let bound = 3.0 * outcome.steady(day);
    let most = outcome.peak(day).max(bound) * 1.1;
    let over = day.calls_counted_over();
    let first = OPENING.as_secs() as usize;
    let end = day.end().as_secs() as usize;
    let x = |second: usize| RIGHT + WIDTH * second as f64 / end as f64;
    let y = |rate: f64| base - HEIGHT * (rate / most).min(1.0);
    let bucket = (BUCKET.as_secs() as usize).max(over);
    let mut points = String::new();
    for from in (first..end).step_by(bucket) {
        let window = &outcome.calls[from..(from + bucket + over).min(end)];
        if window.len() < over {
            break;
        }
        let sums = window.windows(over).map(|it| it.iter().sum::<u32>());
        let rate = f64::from(sums.max().unwrap_or_default()) / over as f64;
        let _ = write!(points, "{:.1},{:.1} ", x(from), y(rate));
    }
    let _ = writeln!(
        svg,
        "<polyline class=\"calls\" points=\"{}\"/>",
        points.trim_end()
    );
    let level = y(bound);
    let right = RIGHT + WIDTH;
    let _ = writeln!(
        svg,
        "<line class=\"bound\" x1=\"{RIGHT}\" x2=\"{right}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>"
    );
    axis(svg, RIGHT, base, &format!("{most:.0}"));
}

fn axis(svg: &mut String, left: f64, base: f64, most: &str) {
    let x = left - 4.0;
    for (y, text) in [(base - HEIGHT + 8.0, most), (base, "0")] {
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{text}</text>"
        );
    }
}

fn label(svg: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    );
}
