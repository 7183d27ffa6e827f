//! Interleaved measuring: in each round every contender gets one short slice, so that what slows
//! the machine down for a while slows all of them down.

use std::{
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// One call of what is measured. Everything that it needs was made before.
pub type Work = Box<dyn FnMut()>;

/// How long a slice lasts and how many of them there are.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub slice: Duration,
}

/// A slice begins with what the others left in the processor's caches, so some calls go before the
/// clock starts.
pub const WARM_UP: u32 = 40;
const FIRST_WARM_UP: u32 = 200;

/// A contender, and how many calls fill its slice.
pub struct Contender {
    pub name: &'static str,
    work: Work,
    calls: u32,
    fixed: bool,
}

impl Contender {
    pub fn new(name: &'static str, work: impl FnMut() + 'static) -> Self {
        Self {
            name,
            work: Box::new(work),
            calls: 1,
            fixed: false,
        }
    }

    /// Makes a slice this many calls, those of the warm-up not counted, however long they take.
    pub fn with_calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self.fixed = true;
        self
    }

    /// Doubles the calls until they fill a slice.
    fn calibrate(&mut self, slice: Duration) {
        if self.fixed {
            self.run();
            return;
        }
        (0..FIRST_WARM_UP).for_each(|_| (self.work)());
        while self.run() < slice {
            self.calls *= 2;
        }
        let per_call = self.run().as_secs_f64() / f64::from(self.calls);
        self.calls = (slice.as_secs_f64() / per_call).ceil() as u32;
    }

    fn run(&mut self) -> Duration {
        (0..WARM_UP).for_each(|_| (self.work)());
        let start = Instant::now();
        for _ in 0..self.calls {
            (self.work)();
        }
        start.elapsed()
    }

    fn nanos_per_call(&mut self) -> f64 {
        self.run().as_nanos() as f64 / f64::from(self.calls)
    }
}

/// Nanoseconds a call: one list for each contender, one value for each round.
pub fn interleave(contenders: &mut [Contender], plan: Plan) -> Vec<Vec<f64>> {
    for contender in &mut *contenders {
        contender.calibrate(plan.slice);
    }
    let mut samples = vec![Vec::with_capacity(plan.rounds); contenders.len()];
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for _ in 0..plan.rounds {
        fastrand::shuffle(&mut order);
        for &i in &order {
            samples[i].push(contenders[i].nanos_per_call());
        }
    }
    samples
}

/// The middle of the samples, and the range that holds the middle half of them.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }

    /// What `samples` have more than `base`, round by round.
    pub fn above(base: &[f64], samples: &[f64]) -> Self {
        Self::of(samples.iter().zip(base).map(|(sample, base)| sample - base))
    }
}

/// Makes a thread's own contenders, so that they may hold what cannot be sent.
pub type Factory<'a> = Box<dyn Fn(usize) -> Work + Sync + 'a>;

/// Calls a second with one thread and with two, round by round.
#[derive(Clone, Default)]
pub struct Throughput {
    pub one: Vec<f64>,
    pub two: Vec<f64>,
}

/// As [`interleave`], and each contender with one thread and with two in turn. Both threads live
/// for the whole run: a fresh thread would pay for the allocator's cold caches.
pub fn interleave_threads(factories: &[Factory<'_>], plan: Plan) -> Vec<Throughput> {
    let barrier = Barrier::new(2);
    let seed = fastrand::u64(..);
    let run = |me| run_thread(me, factories, plan, seed, &barrier);
    let slices = thread::scope(|scope| {
        let threads = [0, 1].map(|me| scope.spawn(move || run(me)));
        threads.map(|thread| thread.join().expect("a contender panicked"))
    });
    let mut sums = vec![
        Throughput {
            one: vec![0.0; plan.rounds],
            two: vec![0.0; plan.rounds],
        };
        factories.len()
    ];
    // Two threads together do the sum of what each does.
    for slice in slices.iter().flatten() {
        let Throughput { one, two } = &mut sums[slice.contender];
        let rates = if slice.threads == 1 { one } else { two };
        rates[slice.round] += slice.rate;
    }
    sums
}

/// One slice of one thread, in calls a second.
struct Slice {
    round: usize,
    contender: usize,
    threads: usize,
    rate: f64,
}

fn run_thread(
    me: usize,
    factories: &[Factory<'_>],
    plan: Plan,
    seed: u64,
    barrier: &Barrier,
) -> Vec<Slice> {
    let named = |factory: &Factory<'_>| Contender::new("", factory(me));
    let mut contenders: Vec<Contender> = factories.iter().map(named).collect();
    calibrate_in_turn(me, &mut contenders, plan.slice, barrier);

    // The same seed for both threads, so that they agree on the order.
    let mut random = fastrand::Rng::with_seed(seed);
    let both = (0..factories.len()).flat_map(|contender| [(contender, 1), (contender, 2)]);
    let mut order: Vec<(usize, usize)> = both.collect();
    let mut slices = Vec::new();
    for round in 0..plan.rounds {
        random.shuffle(&mut order);
        for &(contender, threads) in &order {
            barrier.wait();
            // Where one runs alone, the other sleeps at the next barrier; they take turns at that.
            if threads == 2 || round % 2 == me {
                let rate = 1e9 / contenders[contender].nanos_per_call();
                slices.push(Slice {
                    round,
                    contender,
                    threads,
                    rate,
                });
            }
            barrier.wait();
        }
    }
    slices
}

/// One thread after the other, so that both count as many calls to a slice.
fn calibrate_in_turn(me: usize, contenders: &mut [Contender], slice: Duration, barrier: &Barrier) {
    for turn in 0..2 {
        if turn == me {
            contenders.iter_mut().for_each(|c| c.calibrate(slice));
        }
        barrier.wait();
    }
}

/// The result of a future that waits for nothing, without the costs of an executor.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// Keeps the optimiser from removing a result.
pub fn keep<T>(value: T) {
    black_box(value);
}
