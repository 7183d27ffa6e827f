//! Markdown tables, and what the figures are judged by.

use std::{
    fmt::{self, Display},
    process::ExitCode,
};

use crate::measure::Spread;

/// A table whose first column names the rows.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<I: Into<String>>(corner: &str, columns: impl IntoIterator<Item = I>) -> Self {
        let mut head = vec![corner.to_owned()];
        head.extend(columns.into_iter().map(Into::into));
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        let mut row = vec![name.into()];
        row.extend(cells);
        assert_eq!(row.len(), self.head.len(), "a cell for each column");
        self.rows.push(row);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// Prints a table under a heading, with a line that says how to read it.
pub fn section(title: &str, note: &str, table: &Table) {
    println!("## {title}\n\n{note}\n\n{table}");
}

/// Nanoseconds as microseconds: the median, and the range of the middle half.
pub fn micros(spread: Spread) -> String {
    let [low, median, high] = [spread.low, spread.median, spread.high].map(|ns| ns / 1e3);
    format!("{median:.2} ({low:.2}..{high:.2})")
}

pub fn nanos(spread: Spread) -> String {
    let Spread { low, median, high } = spread;
    format!("{median:.1} ({low:.1}..{high:.1})")
}

pub fn ratio(spread: Spread) -> String {
    let Spread { low, median, high } = spread;
    format!("{median:.3} ({low:.3}..{high:.3})")
}

/// For an algorithm that a contender does not have.
pub fn none() -> String {
    "-".to_owned()
}

/// How figures are judged, and whether any was over so far.
pub struct Judge {
    /// What a figure may be over its limit, as a share of it.
    tolerance: f64,
    failed: bool,
}

impl Judge {
    pub fn new(tolerance: f64) -> Self {
        Self {
            tolerance,
            failed: false,
        }
    }

    pub fn at_most(&mut self, value: f64, limit: f64) -> String {
        self.judge(value <= limit * (1.0 + self.tolerance), value, "<=", limit)
    }

    pub fn at_least(&mut self, value: f64, limit: f64) -> String {
        self.judge(value >= limit * (1.0 - self.tolerance), value, ">=", limit)
    }

    /// A failure when something was over its limit and that was asked for.
    pub fn exit_code_if(&self, asked: bool) -> ExitCode {
        if self.failed && asked {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn judge(&mut self, good: bool, value: f64, sign: &str, limit: f64) -> String {
        self.failed |= !good;
        let verdict = if good { "PASS" } else { "**over**" };
        format!("{value:.3} {sign} {limit:.3} {verdict}")
    }
}
