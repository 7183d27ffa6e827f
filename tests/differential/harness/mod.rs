//! What the property tests and the fuzz targets share: keys, keyrings behind layers, the oracle, and
//! the comparison. It goes through the public interface only.
//!
//! The oracle is `jsonwebtoken::decode` with a strict `Validation`. [`rules`] says once more, over
//! plain JSON values, in what our verifier is stricter. [`judge`] holds the three against each other.

pub(crate) mod authorization;
pub(crate) mod case;
pub(crate) mod document;
pub(crate) mod judge;
pub(crate) mod keys;
pub(crate) mod oracle;
pub(crate) mod rules;
pub(crate) mod world;
