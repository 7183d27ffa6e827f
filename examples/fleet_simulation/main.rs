//! A day of a fleet in a few minutes: 10,000 replicas over one store rotate their signing key ten times.
//!
//! ```sh
//! cargo run --release --example fleet_simulation
//! ```
//!
//! Each replica is a [`Keyring`](tower_secrets::Keyring) of its own, with its real refresh loop, its real
//! `Signer` and a real `JwtRotationLayer`; all of them are in this process, and time is tokio's paused clock,
//! which jumps to whatever is due next. Simulated are the store (latency, a quota, replicas that cannot
//! reach it), the clocks' skew and the callers. Tokens are minted by any replica and verified by any.
//!
//! The same day passes several times, each time with other settings, from polling alone to all that the
//! crate has for fleets. What came of it is printed as a table and plotted; what the crate promises is
//! checked, and a promise that is broken ends the program with an error. The same seed gives the same day.
//!
//! The keys are HMAC secrets: what is simulated is who knows which key when, which is the same for every
//! algorithm, and a token of theirs costs a twentieth of one of EdDSA.

mod day;
mod fleet;
mod outcome;
mod plot;
mod promises;
mod report;
mod store;
mod traffic;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;

use day::{Day, Variant};
use outcome::Outcome;

const PLOT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/fleet_simulation/plot.svg"
);

/// Simulates a fleet of replicas that rotate their signing key.
#[derive(Parser)]
struct Options {
    /// How many replicas there are
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    replicas: u32,
    /// How many times the key is rotated
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=1_000))]
    rotations: u32,
    /// How many tokens are minted in a second by all replicas together; each is verified twice
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    tokens: u32,
    /// Decides all that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the plot is written
    #[arg(long, default_value = PLOT)]
    plot: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let day = Day::new(
        options.replicas,
        options.rotations,
        options.tokens,
        options.seed,
    );
    println!("{day}\n");
    let outcomes = match live_through_all(&day) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            eprintln!("fleet_simulation: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", report::table(&day, &outcomes));
    println!("{}", report::details(&outcomes));
    if let Err(error) = fs::write(&options.plot, plot::svg(&day, &outcomes)) {
        eprintln!("fleet_simulation: {}: {error}", options.plot.display());
        return ExitCode::FAILURE;
    }
    let mut is_kept = true;
    for promise in promises::judge(&day, &outcomes) {
        println!("{promise}");
        is_kept &= promise.is_kept;
    }
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The variants have nothing in common but the day. Two at a time, for the sake of memory.
fn live_through_all(day: &Day) -> Result<Vec<Outcome>, String> {
    let begin = Instant::now();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(variant) = Variant::ALL.get(number) else {
                return Ok(done);
            };
            let outcome = day::live_through(day, *variant);
            let outcome = outcome.map_err(|error| format!("{}: {error}", variant.name))?;
            eprintln!("{}: done after {:.0?}", variant.name, begin.elapsed());
            done.push((number, outcome));
        }
    };
    let done: Result<Vec<_>, String> = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .map(|end| end.unwrap_or_else(|_| Err("a panic".to_owned())))
            .collect()
    });
    let mut done: Vec<_> = done?.into_iter().flatten().collect();
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}
