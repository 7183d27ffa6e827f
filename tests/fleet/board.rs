//! What became of the calls, by the step of the script in which they came and the replica that served.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

/// More than this nobody reads.
const SHOWN: usize = 5;

pub(crate) struct Board {
    began: Instant,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    steps: Vec<Step>,
    failures: Vec<Failure>,
}

struct Step {
    name: &'static str,
    at: Duration,
    /// Of each replica.
    good: Vec<usize>,
    bad: Vec<usize>,
}

/// A call with a token that is valid, or for one, that was not answered as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) at: Duration,
    /// `None`: no replica answered.
    pub(crate) replica: Option<usize>,
    pub(crate) what: String,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            books: Mutex::default(),
        }
    }

    /// The one clock of the script.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The script goes on.
    pub(crate) fn step(&self, name: &'static str) {
        let at = self.now();
        println!("{:>6.1} s  {name}", at.as_secs_f64());
        self.books.lock().unwrap().steps.push(Step {
            name,
            at,
            good: Vec::new(),
            bad: Vec::new(),
        });
    }

    pub(crate) fn good(&self, replica: usize) {
        let mut books = self.books.lock().unwrap();
        count(&mut books.steps.last_mut().unwrap().good, replica);
    }

    pub(crate) fn bad(&self, replica: Option<usize>, what: String) {
        let at = self.now();
        let mut books = self.books.lock().unwrap();
        if let Some(replica) = replica {
            count(&mut books.steps.last_mut().unwrap().bad, replica);
        }
        books.failures.push(Failure { at, replica, what });
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.books.lock().unwrap().failures.clone()
    }

    /// How many calls ended well.
    pub(crate) fn calls(&self) -> usize {
        let books = self.books.lock().unwrap();
        books.steps.iter().flat_map(|step| &step.good).sum()
    }

    /// In every step that lasted, every replica has to have served, or nothing was shown.
    pub(crate) fn assert_all_served(&self, replicas: usize) {
        let books = self.books.lock().unwrap();
        for pair in books.steps.windows(2) {
            let [step, next] = pair else { continue };
            let lasted = next.at - step.at;
            let served = (0..replicas).filter(|it| step.good.get(*it).is_some_and(|n| *n > 0));
            assert!(
                lasted < Duration::from_secs(5) || served.count() == replicas,
                "in `{}` only {:?} calls were served",
                step.name,
                step.good
            );
        }
    }
}

fn count(of_replicas: &mut Vec<usize>, replica: usize) {
    if of_replicas.len() <= replica {
        of_replicas.resize(replica + 1, 0);
    }
    of_replicas[replica] += 1;
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = self.books.lock().unwrap();
        let line = "  step                                          from s   served by each            failed at each";
        writeln!(f, "{line}")?;
        for step in &books.steps {
            let Step {
                name,
                at,
                good,
                bad,
            } = step;
            let (at, good, bad) = (at.as_secs_f64(), format!("{good:?}"), format!("{bad:?}"));
            writeln!(f, "  {name:<44} {at:>7.1}   {good:<24}  {bad}")?;
        }
        for failure in books.failures.iter().take(SHOWN) {
            writeln!(f, "  {failure:?}")?;
        }
        Ok(())
    }
}
