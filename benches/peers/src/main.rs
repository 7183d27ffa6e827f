//! Starts each measurement in a process of its own, and says whether all went well. See README.md.

use std::{
    env, io,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use peers::{
    choices,
    contenders::Backend,
    machine,
    measure::Plan,
    previous, proof,
    report::{self, Judge},
    threads, times,
};

/// Measures tower-secrets against its peers.
#[derive(Parser)]
struct Options {
    /// Fewer rounds: to see that it runs, not to quote.
    #[arg(long)]
    quick: bool,
    /// Ends with an error when a figure is over its target.
    #[arg(long)]
    check: bool,
    /// How far a figure may be over its target, as a share of it.
    #[arg(long, default_value_t = 0.0)]
    tolerance: f64,
    /// Only this part, in this process.
    #[arg(long)]
    part: Option<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Times with aws_lc_rs as the back-end of jsonwebtoken; the previous key; two threads.
    AwsLcRs,
    /// Times with the back-end that the peers ship.
    AsShipped,
    /// Base64 and cache crates.
    Choices,
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse();
    let Some(part) = options.part else {
        return all(options.check);
    };
    let mut judge = Judge::new(options.tolerance);
    run(part, options.quick, &mut judge);
    Ok(judge.exit_code_if(options.check))
}

/// Starts this program anew for each part, with the same options, and then the one that counts
/// allocations: it has another allocator, so it is another program.
fn all(check: bool) -> io::Result<ExitCode> {
    report::section("Measured with", "", &machine::table());
    let mut good = true;
    for part in Part::value_variants() {
        let name = part.to_possible_value().expect("no part is hidden");
        let mut child = Command::new(env::current_exe()?);
        child
            .args(env::args_os().skip(1))
            .args(["--part", name.get_name()]);
        good &= child.status()?.success();
    }
    for backend in ["aws-lc-rs", "rust-crypto"] {
        let mut child = allocations(backend);
        child.args(check.then_some("--check"));
        good &= child.status()?.success();
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn allocations(backend: &str) -> Command {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--release", "--quiet", "--bin", "allocations"]);
    cargo.args(["--manifest-path", manifest, "--", backend]);
    cargo
}

fn run(part: Part, quick: bool, judge: &mut Judge) {
    let plan = |rounds, micros| Plan {
        rounds: if quick { rounds / 10 } else { rounds },
        slice: Duration::from_micros(micros),
    };
    match part {
        Part::AwsLcRs => {
            let setups = peers(Backend::AwsLcRs, plan(61, 4_000), judge);
            for setup in &setups {
                previous::run(setup, plan(61, 4_000), judge);
            }
            threads::run(&setups, plan(121, 2_000), judge);
        }
        Part::AsShipped => {
            peers(Backend::RustCrypto, plan(61, 4_000), judge);
        }
        Part::Choices => choices::run(plan(61, 500), plan(61, 4_000)),
    }
}

fn peers(backend: Backend, plan: Plan, judge: &mut Judge) -> Vec<peers::contenders::Setup> {
    backend.install();
    let setups = proof::setups();
    report::section(
        "What each refuses",
        "Tried with every algorithm before the measuring; all let a good token through.",
        &proof::table(&setups, backend),
    );
    times::run(&setups, backend, plan, judge);
    setups
}
