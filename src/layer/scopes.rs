//! Scopes that a header can carry: RFC 6749 section 3.3.

use std::{error::Error, fmt};

/// Asks an authorization server for a refresh token, which is no business of a resource (MCP 2026-07-28,
/// Authorization, Refresh Tokens): no challenge and no metadata names it.
const OFFLINE_ACCESS: &str = "offline_access";

/// Checked names, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    pub(crate) fn new(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, InvalidScope> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        match names.iter().find(|name| !is_scope_token(name)) {
            Some(name) => Err(InvalidScope::new(name)),
            None => Ok(Self(names)),
        }
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(String::as_str)
    }

    /// Those that clients may be told to ask for.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|name| may_be_named(name))
    }
}

/// Whether a challenge may name it: others would break the header, or say what it is not for.
pub(super) fn may_be_named(name: &str) -> bool {
    is_scope_token(name) && name != OFFLINE_ACCESS
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`
pub(crate) fn is_scope_token(name: &str) -> bool {
    let is_char = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !name.is_empty() && name.bytes().all(is_char)
}

/// A scope that no token can have and no header can carry, such as two scopes in one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScope {
    name: String,
    /// What it is a scope for.
    of: Option<String>,
}

impl InvalidScope {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            of: None,
        }
    }

    #[cfg(feature = "rmcp")]
    pub(crate) fn of(name: &str, of: String) -> Self {
        Self {
            of: Some(of),
            ..Self::new(name)
        }
    }
}

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, of } = self;
        write!(f, "{name:?}")?;
        if let Some(of) = of {
            write!(f, ", of {of},")?;
        }
        f.write_str(
            " is no scope: one is printable ASCII without spaces, quotes and backslashes (RFC 6749, \
             section 3.3)",
        )
    }
}

impl Error for InvalidScope {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar() {
        for good in ["a", "mcp:read", "https://api.example/.default", "!", "~#[]"] {
            assert!(Scopes::new([good]).is_ok(), "{good:?}");
        }
        for bad in [
            "", " ", "a b", "a\"", "a\\b", "a\r\nb", "\u{7f}", "\u{e9}", "a,\tb",
        ] {
            let error = Scopes::new(["a", bad]).err();
            assert_eq!(error, Some(InvalidScope::new(bad)));
            assert!(!may_be_named(bad));
        }
    }

    #[test]
    fn an_error_shows_no_character_that_moves_a_terminal() {
        let error = InvalidScope::new("a\u{1b}[2J\n");
        assert!(
            error.to_string().chars().all(|c| !c.is_control()),
            "{error}"
        );
    }
}
