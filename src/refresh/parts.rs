//! Resources made from secrets, kept across refreshes while their inputs stay the same.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::Future,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};

type Built = HashMap<&'static str, Part>;

#[derive(Clone)]
struct Part {
    inputs: [u8; 32],
    value: Arc<dyn Any + Send + Sync>,
}

/// Handed to a `prepare` step: what the bundle in use was built from.
///
/// A rotation of one secret must not rebuild what others feed: ten rotations of a signing key
/// should open no database connection. [`reuse`](Self::reuse) builds a part only when the values
/// it reads have changed.
#[derive(Clone, Default)]
pub struct Parts {
    earlier: Arc<Built>,
    built: Arc<Mutex<Built>>,
}

impl Parts {
    /// The part called `name`, built by `build` unless one was built from equal `inputs` for the
    /// bundle in use; then that one is cloned, and `build` is dropped without being polled.
    ///
    /// Only a SHA-256 digest of the inputs is kept.
    ///
    /// # Errors
    /// Those of `build`.
    ///
    /// # Cancellation safety
    /// Dropping the future drops `build`; nothing is kept.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use tower_secrets::Parts;
    ///
    /// #[derive(Hash)]
    /// struct Db { user: String, password: String }
    ///
    /// async fn prepare(db: &Db, parts: &Parts) -> Result<Arc<String>, std::io::Error> {
    ///     parts
    ///         .reuse("pool", db, async {
    ///             // Connect here.
    ///             Ok(Arc::new(format!("a pool for {}", db.user)))
    ///         })
    ///         .await
    /// }
    /// ```
    pub async fn reuse<I, P, E, F>(&self, name: &'static str, inputs: &I, build: F) -> Result<P, E>
    where
        I: Hash + ?Sized,
        P: Clone + Send + Sync + 'static,
        F: Future<Output = Result<P, E>>,
    {
        let inputs = digest(inputs);
        let earlier = self.earlier.get(name).filter(|part| part.inputs == inputs);
        let value = match earlier.and_then(|part| part.value.downcast_ref::<P>()) {
            Some(value) => value.clone(),
            None => build.await?,
        };
        let part = Part {
            inputs,
            value: Arc::new(value.clone()),
        };
        self.built
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, part);
        Ok(value)
    }

    /// What a further bundle may take over from the one that was just built.
    pub(crate) fn next(&self) -> Self {
        let built = std::mem::take(&mut *self.built.lock().unwrap_or_else(PoisonError::into_inner));
        Self {
            earlier: Arc::new(built),
            built: Arc::default(),
        }
    }

    /// For another try from the same start: nothing that the failed one built is kept.
    pub(crate) fn retry(&self) -> Self {
        Self {
            earlier: self.earlier.clone(),
            built: Arc::default(),
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.earlier.keys()).finish()
    }
}

fn digest<I: Hash + ?Sized>(inputs: &I) -> [u8; 32] {
    let mut hasher = Sha256Hasher(Context::new(&SHA256));
    inputs.hash(&mut hasher);
    let mut digest = [0; 32];
    digest.copy_from_slice(hasher.0.finish().as_ref());
    digest
}

/// Feeds whatever `Hash` writes to SHA-256: a 64-bit hash would let two passwords collide.
struct Sha256Hasher(Context);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn pool(parts: &Parts, password: &str, made: &mut u32) -> Arc<String> {
        let built = parts.reuse("pool", password, async {
            *made += 1;
            Ok::<_, ()>(Arc::new(password.to_owned()))
        });
        built.await.unwrap()
    }

    #[tokio::test]
    async fn a_part_is_built_again_only_when_its_inputs_change() {
        let mut made = 0;
        let first = Parts::default();
        let one = pool(&first, "a", &mut made).await;
        let second = first.next();
        let two = pool(&second, "a", &mut made).await;
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(made, 1);
        let third = second.next();
        pool(&third, "b", &mut made).await;
        assert_eq!(made, 2);

        // Refused: the next try starts from what is in use, which is "a".
        let retry = third.retry();
        assert!(Arc::ptr_eq(&pool(&retry, "a", &mut made).await, &one));
        assert_eq!(made, 2);
    }
}
