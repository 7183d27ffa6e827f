//! Counts heap allocations; started by `peers`. See README.md.

use std::{alloc::System, process::ExitCode};

use clap::Parser;
use peers::{allocations, contenders::Backend, proof, report::Judge};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Parser)]
struct Options {
    backend: Backend,
    /// Ends with an error when a count is over its target.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let Options { backend, check } = Options::parse();
    backend.install();
    // A count is a count: nothing is tolerated.
    let mut judge = Judge::new(0.0);
    allocations::run(&proof::setups(), backend, count, &mut judge);
    judge.exit_code_if(check)
}

fn count(work: &mut dyn FnMut()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}
