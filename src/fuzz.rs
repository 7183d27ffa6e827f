//! What the fuzz targets of parsers that are private run; see `fuzz/` in the repository. It is compiled
//! for them and for tests alone.
//!
//! Each takes an input in which the first byte says which parser is meant, and panics at a finding.

#[cfg(feature = "jwks")]
pub use crate::source::jwks::fuzz::jwks;

#[cfg(feature = "vault")]
pub use crate::source::vault::fuzz::vault;

#[cfg(feature = "rmcp")]
pub use crate::mcp::session::fuzz::session;

/// Panics where a text that people will read holds a word of these values that says something: a
/// long one of letters and digits, which no text of ours has.
#[cfg(any(feature = "file", feature = "jwks", feature = "vault"))]
pub fn assert_untold<'a>(text: &str, values: impl IntoIterator<Item = &'a str>) {
    const TELLING: usize = 8;
    assert!(!text.contains(char::is_control), "{text:?}");
    for word in values
        .into_iter()
        .flat_map(|value| value.split(|c: char| !c.is_alphanumeric()))
    {
        let is_mixed = word.contains(char::is_alphabetic) && word.contains(char::is_numeric);
        let is_told = is_mixed && word.len() >= TELLING && text.contains(word);
        assert!(!is_told, "{text:?} tells {word:?}");
    }
}

/// All texts in a JSON document.
#[cfg(any(feature = "file", feature = "jwks", feature = "vault"))]
pub fn texts(value: &serde_json::Value) -> Vec<&str> {
    use serde_json::Value;
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[cfg(all(test, any(feature = "jwks", feature = "rmcp", feature = "vault")))]
mod tests {
    use std::{fs, path::Path};

    /// The seeds are judged as the fuzzer judges them.
    fn judge(target: &str, run: impl Fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let Ok(seeds) = fs::read_dir(&seeds) else {
            eprintln!(
                "no seeds in {}: they are not part of the package",
                seeds.display()
            );
            return;
        };
        let mut judged = 0;
        for seed in seeds.flatten() {
            eprintln!("{}", seed.path().display());
            run(&fs::read(seed.path()).unwrap_or_default());
            judged += 1;
        }
        assert!(judged > 0);
    }

    #[cfg(feature = "jwks")]
    #[test]
    fn no_seed_of_jwks_is_a_finding() {
        judge("jwks", super::jwks);
    }

    #[cfg(feature = "vault")]
    #[tokio::test]
    async fn no_seed_of_vault_is_a_finding() {
        judge("vault", super::vault);
    }

    #[cfg(feature = "rmcp")]
    #[test]
    fn no_seed_of_session_is_a_finding() {
        judge("session", super::session);
    }
}
