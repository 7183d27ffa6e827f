//! Pages to read from top to bottom: how to do one thing with the parts of this crate.

#[cfg(all(feature = "file", feature = "jwks", feature = "axum", feature = "rmcp"))]
pub mod mcp;
