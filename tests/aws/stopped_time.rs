//! tokio's clock stopped, with real sockets: five minutes pass in a second, and no call is cut
//! short because its server needed a moment of real time.

use std::{sync::mpsc, time::Duration};

use crate::proxy::Proxy;

/// Far less than the shortest time-out, so that a call is done in the step in which it began.
const STEP: Duration = Duration::from_millis(250);

/// As many as all tasks of a test need to pass a message around.
const TURNS: usize = 40;

/// While it lives, time moves by [`pass`](Self::pass) alone.
pub(crate) struct StoppedTime(
    #[expect(dead_code, reason = "dropping it ends it")] mpsc::Sender<()>,
);

impl StoppedTime {
    pub(crate) fn begin() -> Self {
        let (held, released) = mpsc::channel();
        // tokio would move a stopped clock by itself whenever all tasks wait, for a socket too;
        // it does not while a blocking task runs.
        tokio::task::spawn_blocking(move || released.recv());
        tokio::time::pause();
        Self(held)
    }

    /// Lets this much time pass, and every call through the proxy come to its end in its step.
    pub(crate) async fn pass(&self, time: Duration, proxy: &Proxy) {
        let mut left = time;
        while !left.is_zero() {
            let step = STEP.min(left);
            tokio::time::advance(step).await;
            settle(proxy).await;
            left -= step;
        }
    }

    /// Waits for this, while time passes.
    pub(crate) async fn until<R>(&self, done: impl Future<Output = R>, proxy: &Proxy) -> R {
        let passing = async {
            loop {
                self.pass(STEP, proxy).await;
            }
        };
        tokio::select! {
            result = done => result,
            () = passing => unreachable!(),
        }
    }
}

async fn settle(proxy: &Proxy) {
    loop {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        if proxy.is_idle() {
            return;
        }
        proxy.idle().await;
    }
}
