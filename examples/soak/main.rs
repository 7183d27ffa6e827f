//! A server under traffic whose store rotates each second and fails at random, for as long as you like.
//!
//! ```sh
//! cargo run --release --example soak --features axum,rmcp -- --minutes 20
//! ```
//!
//! MCP clients and plain HTTP clients call over loopback. Each second the secrets rotate, and something
//! goes wrong: the store is stopped, hangs, is slow, answers garbage or an older version, a probe refuses,
//! hangs or panics, a key is revoked; clients break off in the middle of calls. What goes wrong follows
//! from a seed, which is printed. The books of the store say which token must be accepted and which must
//! be refused; every answer is held against them. It ends with an error where one does not fit, where
//! memory grows by more than 5 % after a warm-up of two minutes (20 % in a shorter run), or where a task
//! outlives the server.

#[path = "../live_rotation/authorized.rs"]
mod authorized;
mod client;
mod machine;
mod operator;
mod server;
mod store;
mod tally;
mod truth;

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Mcp, Plain, Purse},
    machine::Memory,
    operator::Operator,
    server::Server,
    store::Store,
    tally::Tally,
    truth::Truth,
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// After the faults, so that what was broken can be mended.
const CALM: Duration = Duration::from_secs(4);

/// How long tasks that were told to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// Traffic on a server whose store rotates each second and fails at random
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it goes on
    #[arg(long, default_value_t = 0, conflicts_with = "seconds")]
    minutes: u64,
    /// The same in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What goes wrong, and when; another one each time by default
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients of each kind call at the same time
    #[arg(long, default_value_t = 6)]
    clients: usize,
}

impl Arguments {
    fn length(&self) -> Duration {
        match self.minutes {
            0 => Duration::from_secs(self.seconds.max(10)),
            minutes => Duration::from_secs(minutes * 60),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match soak(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server has a runtime of its own, whose tasks can be counted.
fn soak(arguments: &Arguments) -> Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u32(..).into());
    println!("seed {seed}, {} s", arguments.length().as_secs());
    let tally = Tally::default();
    operator::count_panics(tally.clone());
    let files_before = machine::open_files();
    let (serving, calling) = (runtime()?, runtime()?);
    let truth = Truth::default();
    let store = Store::new(truth.clone());
    let server = serving.block_on(Server::start(store.clone(), store.upstream()))?;
    let keyring = server.keyring.clone();
    println!("server on {}", server.url);

    let operator = Operator::new(
        seed,
        keyring.clone(),
        store.clone(),
        truth.clone(),
        tally.clone(),
    );
    let run = Run {
        operator,
        url: server.url.clone(),
        truth,
        tally: tally.clone(),
        serving: serving.handle().clone(),
        most_tasks: 0,
        most_files: None,
        memory: Memory::begin(arguments.length()),
    };
    let run = calling.spawn(run.run(arguments.length(), arguments.clients));
    let Run {
        memory,
        most_tasks,
        most_files,
        ..
    } = calling.block_on(run)??;
    if keyring.current().version().as_str() != store.newest().id() {
        tally.failure("the refresher is dead: it has not met the newest version");
    }
    drop(keyring);
    serving.block_on(server.stop())?;
    calling.shutdown_timeout(GRACE);
    let tasks_after = wait_for_end(serving.handle());
    serving.shutdown_timeout(GRACE);

    let seen = tally.seen();
    println!("\n{seen}  {:<44} {}", "calls of the store", store.fetches());
    println!("  {}", memory);
    let [before, most, after] = [files_before, most_files, machine::open_files()]
        .map(|count| count.map_or("not counted here".to_owned(), |count| count.to_string()));
    println!(
        "  {:<44} {before} before, {most} at most, {after} after",
        "open files"
    );
    println!(
        "  {:<44} {} at most, {tasks_after} after",
        "tasks of the server", most_tasks
    );
    let mut faults = seen.faults();
    if tasks_after > 0 {
        faults.push(format!("{tasks_after} tasks outlived the server"));
    }
    faults.extend(memory.fault());
    for fault in &faults {
        eprintln!("soak: FAILED with seed {seed}: {fault}");
    }
    Ok(if faults.is_empty() {
        println!("nothing unexpected");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Run {
    operator: Operator,
    url: String,
    truth: Truth,
    tally: Tally,
    serving: Handle,
    most_tasks: usize,
    most_files: Option<usize>,
    memory: Memory,
}

impl Run {
    async fn run(mut self, length: Duration, clients: usize) -> Result<Self> {
        self.operator.fill().await?;
        let stop = CancellationToken::new();
        let tokens = watch::Sender::new(self.operator.mint()?);
        let mut traffic = JoinSet::new();
        for number in 0..clients {
            let purse = || {
                let (truth, tally) = (self.truth.clone(), self.tally.clone());
                Purse::new(tokens.subscribe(), number, truth, tally)
            };
            traffic.spawn(Plain::new(self.url.clone(), purse()?).run(stop.clone()));
            let mcp = Mcp::new(self.url.clone(), purse()?, number % 2 == 0);
            traffic.spawn(mcp.run(stop.clone()));
        }
        let minting = tokio::spawn(self.operator.minting(tokens));
        let start = Instant::now();
        while start.elapsed() + CALM < length {
            self.operator.tick().await;
            self.look(start.elapsed());
        }
        self.operator.calm(CALM).await;
        self.look(start.elapsed());
        stop.cancel();
        while let Some(ended) = traffic.join_next().await {
            ended?;
        }
        minting.abort();
        Ok(self)
    }

    fn look(&mut self, elapsed: Duration) {
        self.memory.sample(elapsed);
        self.most_tasks = self.most_tasks.max(tasks(&self.serving));
        self.most_files = self.most_files.max(machine::open_files());
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn tasks(runtime: &Handle) -> usize {
    runtime.metrics().num_alive_tasks()
}

fn wait_for_end(runtime: &Handle) -> usize {
    let start = Instant::now();
    while tasks(runtime) > 0 && start.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(20));
    }
    tasks(runtime)
}
