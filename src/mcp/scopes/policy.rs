//! Which scopes a message needs.

use std::collections::HashMap;

use super::uri::Meaning;
use crate::{
    layer::{InvalidScope, is_scope_token},
    mcp::message::Target,
};

/// Scope tokens, as RFC 6749 section 3.3 has them.
type Scopes = Box<[Box<str>]>;

/// Which scopes the tools, prompts, resources and methods of an MCP server need, by name.
///
/// What applies adds up: a call needs the scopes of its [`method`](Self::method) and of its tool, prompt
/// or resource, and a resource those of every rule that its URI meets. What is not listed needs what
/// [`other_tools`](Self::other_tools) and its like say, by default nothing beyond the
/// [`required_scopes`](crate::JwtRotationLayer) of the token layer; or it is refused, with
/// [`deny_unlisted`](Self::deny_unlisted).
///
/// Names of tools, prompts and methods are compared byte by byte, as rmcp does. A URI is too, and needs besides
/// what any common reading of it needs:
///
/// * `file:///public/../private` as `file:///private`: dot segments, percents, `\`, `//`, the case of scheme and
///   host; and what is behind `?` or `#` as more of the path;
/// * `file://private/x` as `file:///private/x`, to who takes what is behind the scheme for a path;
/// * `file://any/private/x` as `file:///private/x`, to who does not look at the host: what a rule without a
///   host guards is guarded on every host;
/// * `https://user@h:443/` as `https://h/`.
///
/// Where readers may disagree, a URI counts as any of its scheme and needs the scopes of every rule for that:
/// `..` beside percents, `\`, empty segments, spaces or `:`; and a host of `http`, `https`, `ws`, `wss`, `ftp` or
/// `file` with letters beyond ASCII or in another notation of a number. Such a host is written `xn--..` by
/// those who want it taken for itself. What no form can tell remains the server's: symbolic links, file systems
/// that ignore case or endings, percents that are decoded twice, a scheme of its own that it cuts off or
/// resolves, a query that is not looked at.
///
/// ```
/// use tower_secrets::mcp::ScopePolicy;
///
/// let policy = ScopePolicy::new()
///     .tool("read_file", ["files:read"])
///     .tool("delete_file", ["files:read", "files:write"])
///     .prompt("summary", ["files:read"])
///     .resource_prefix("file:///", ["files:read"])
///     .resource_prefix("file:///private/", ["files:private"])
///     .other_tools(["tools:call"])
///     .method("logging/setLevel", ["ops"]);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ScopePolicy {
    methods: HashMap<Box<str>, Scopes>,
    tools: Names,
    prompts: Names,
    resources: Resources,
    deny_unlisted: bool,
    invalid: Option<InvalidScope>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    listed: HashMap<Box<str>, Scopes>,
    others: Scopes,
}

#[derive(Clone, Debug, Default)]
struct Resources {
    rules: Vec<ResourceRule>,
    others: Scopes,
}

#[derive(Clone, Debug)]
struct ResourceRule {
    uri: Box<str>,
    meaning: Meaning,
    is_prefix: bool,
    scopes: Scopes,
}

impl ScopePolicy {
    /// A policy that asks for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What calling this tool needs (`tools/call`). Again for the same tool, it adds to it.
    pub fn tool<'s>(mut self, name: &str, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = self.checked("tool", name, scopes);
        add(&mut self.tools.listed, name, scopes);
        self
    }

    /// What each of these tools needs.
    pub fn tools<'n, 's>(
        self,
        names: impl IntoIterator<Item = &'n str>,
        scopes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        let scopes: Vec<_> = scopes.into_iter().collect();
        let add = |policy: Self, name| policy.tool(name, scopes.iter().copied());
        names.into_iter().fold(self, add)
    }

    /// What this prompt needs: `prompts/get`, and `completion/complete` of its arguments.
    pub fn prompt<'s>(mut self, name: &str, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = self.checked("prompt", name, scopes);
        add(&mut self.prompts.listed, name, scopes);
        self
    }

    /// What this resource needs: `resources/read`, `resources/subscribe`, `resources/unsubscribe`,
    /// `resources/directory/read`, `skills/get`, and `subscriptions/listen` with it among the resources.
    ///
    /// `completion/complete` of a resource template is held against the text of the template, such as
    /// `file:///{path}`: where its values tell something, list that too.
    pub fn resource<'s>(self, uri: &str, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        self.resource_rule(uri, false, scopes)
    }

    /// What every resource needs whose URI begins with this.
    pub fn resource_prefix<'s>(
        self,
        prefix: &str,
        scopes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        self.resource_rule(prefix, true, scopes)
    }

    /// What messages of this method need, whatever they name: `tools/call` for every tool.
    pub fn method<'s>(mut self, method: &str, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        let scopes = self.checked("method", method, scopes);
        add(&mut self.methods, method, scopes);
        self
    }

    /// What tools need that are not listed. Default: nothing.
    pub fn other_tools<'s>(mut self, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        self.tools.others = self.checked("other", "tools", scopes);
        self
    }

    /// What prompts need that are not listed. Default: nothing.
    pub fn other_prompts<'s>(mut self, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        self.prompts.others = self.checked("other", "prompts", scopes);
        self
    }

    /// What resources need that no rule is for. Default: nothing.
    pub fn other_resources<'s>(mut self, scopes: impl IntoIterator<Item = &'s str>) -> Self {
        self.resources.others = self.checked("other", "resources", scopes);
        self
    }

    /// Refuses, whatever the token grants, tools, prompts and resources that are not listed, and methods
    /// (those of notifications too) that are neither listed nor a client's in MCP 2025-11-25 or 2026-07-28
    /// without extensions (`tasks/get` is of one). What needs no scope is listed with none: `.tool("time", [])`.
    /// Default: they pass.
    pub fn deny_unlisted(mut self) -> Self {
        self.deny_unlisted = true;
        self
    }

    fn resource_rule<'s>(
        mut self,
        uri: &str,
        is_prefix: bool,
        scopes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        let scopes = self.checked("resource", uri, scopes);
        self.resources.rules.push(ResourceRule {
            uri: uri.into(),
            meaning: Meaning::new(uri, !is_prefix),
            is_prefix,
            scopes,
        });
        self
    }

    /// Remembers the first that is not a scope, for [`valid`](Self::valid).
    fn checked<'s>(
        &mut self,
        kind: &'static str,
        name: &str,
        scopes: impl IntoIterator<Item = &'s str>,
    ) -> Scopes {
        let check = |scope: &'s str| {
            if !is_scope_token(scope) && self.invalid.is_none() {
                self.invalid = Some(InvalidScope::of(scope, format!("{kind} {name:?}")));
            }
            scope.into()
        };
        scopes.into_iter().map(check).collect()
    }

    pub(super) fn valid(self) -> Result<Self, InvalidScope> {
        match self.invalid {
            Some(invalid) => Err(invalid),
            None => Ok(self),
        }
    }

    /// Whether a method that names prompts or resources in its body alone is to be read.
    pub(super) fn is_about_prompts_or_resources(&self) -> bool {
        let Self {
            prompts, resources, ..
        } = self;
        self.deny_unlisted
            || !(prompts.listed.is_empty() && prompts.others.is_empty())
            || !(resources.rules.is_empty() && resources.others.is_empty())
    }

    /// Whether no message needs anything.
    pub(super) fn is_empty(&self) -> bool {
        let is_about_tools = !(self.tools.listed.is_empty() && self.tools.others.is_empty());
        self.methods.is_empty() && !is_about_tools && !self.is_about_prompts_or_resources()
    }

    /// Adds what a message needs.
    pub(super) fn add_method<'p>(&'p self, method: &str, needs: &mut Needs<'p>) {
        match self.methods.get(method) {
            Some(scopes) => needs.add(scopes),
            None => needs.unlisted |= self.deny_unlisted && !is_of_mcp(method),
        }
    }

    /// Adds what naming this needs, besides the method.
    pub(super) fn add_target<'p>(&'p self, target: Target<'_>, needs: &mut Needs<'p>) {
        let strict = self.deny_unlisted;
        match target {
            Target::Tool(name) => self.tools.add(name, strict, needs),
            Target::Prompt(name) => self.prompts.add(name, strict, needs),
            Target::Resource(uri) => self.resources.add(uri, strict, needs),
        }
    }
}

impl Names {
    fn add<'p>(&'p self, name: &str, strict: bool, needs: &mut Needs<'p>) {
        match self.listed.get(name) {
            Some(scopes) => needs.add(scopes),
            None => needs.add_others(&self.others, strict),
        }
    }
}

impl Resources {
    fn add<'p>(&'p self, uri: &str, strict: bool, needs: &mut Needs<'p>) {
        if self.rules.is_empty() {
            return needs.add_others(&self.others, strict);
        }
        // Each reading by itself: that one is listed does not free the others.
        let written = self.rules.iter().filter(|rule| rule.meets(&rule.uri, uri));
        self.add_all(written, strict, needs);
        let asked = Meaning::new(uri, true);
        for (at, reading) in asked.readings().enumerate() {
            let meant = |rule: &&ResourceRule| {
                let mut readings = rule.meaning.readings();
                readings.nth(at).is_some_and(|it| rule.meets(it, reading))
            };
            self.add_all(self.rules.iter().filter(meant), strict, needs);
        }
        // Who is afraid of more readers than these asks for more, and takes nothing more for listed.
        let may_be =
            |rule: &&ResourceRule| rule.meaning.may_be(&asked, |it, uri| rule.meets(it, uri));
        let feared = self.rules.iter().filter(may_be);
        feared.for_each(|rule| needs.add(&rule.scopes));
        if !asked.is_settled {
            needs.add_others(&self.others, strict);
        }
    }

    fn add_all<'p>(
        &'p self,
        mut rules: impl Iterator<Item = &'p ResourceRule>,
        strict: bool,
        needs: &mut Needs<'p>,
    ) {
        match rules.next() {
            None => needs.add_others(&self.others, strict),
            Some(first) => {
                needs.add(&first.scopes);
                rules.for_each(|rule| needs.add(&rule.scopes));
            }
        }
    }
}

impl ResourceRule {
    fn meets(&self, rule: &str, uri: &str) -> bool {
        if self.is_prefix {
            uri.starts_with(rule)
        } else {
            uri == rule
        }
    }
}

/// What the messages of one request need together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs<'p> {
    /// In the order of the messages, each once.
    pub(super) scopes: Vec<&'p str>,
    /// Something is refused whatever the token grants.
    pub(super) unlisted: bool,
}

impl<'p> Needs<'p> {
    fn add(&mut self, scopes: &'p Scopes) {
        for scope in scopes {
            if !self.scopes.contains(&&**scope) {
                self.scopes.push(scope);
            }
        }
    }

    fn add_others(&mut self, scopes: &'p Scopes, strict: bool) {
        self.unlisted |= strict;
        self.add(scopes);
    }
}

fn add(rules: &mut HashMap<Box<str>, Scopes>, name: &str, scopes: Scopes) {
    let all = rules.entry(name.into()).or_default();
    *all = std::mem::take(all).into_iter().chain(scopes).collect();
}

/// Those of clients in MCP 2025-11-25 and 2026-07-28 without extensions.
fn is_of_mcp(method: &str) -> bool {
    const METHODS: [&str; 20] = [
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "roots/list",
        "server/discover",
        "subscriptions/listen",
        "tools/call",
        "tools/list",
    ];
    METHODS.contains(&method)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn needs<'p>(policy: &'p ScopePolicy, method: &str, target: Target<'_>) -> Needs<'p> {
        let mut needs = Needs::default();
        policy.add_method(method, &mut needs);
        policy.add_target(target, &mut needs);
        needs
    }

    fn of_resource<'p>(policy: &'p ScopePolicy, uri: &str) -> Vec<&'p str> {
        needs(policy, "resources/read", Target::Resource(uri)).scopes
    }

    #[test]
    fn what_applies_adds_up_and_nothing_twice() {
        let policy = ScopePolicy::new()
            .method("tools/call", ["call"])
            .tools(["delete", "move"], ["read", "write"])
            .tool("move", ["call", "admin"]);
        let of = |tool| needs(&policy, "tools/call", Target::Tool(tool)).scopes;
        assert_eq!(of("delete"), ["call", "read", "write"]);
        assert_eq!(of("move"), ["call", "read", "write", "admin"]);
        assert_eq!(of("other"), ["call"]);
    }

    #[test]
    fn a_name_is_of_its_kind_and_exact() {
        let policy = ScopePolicy::new()
            .tool("x", ["t"])
            .prompt("x", ["p"])
            .other_tools(["o"]);
        let of = |target| needs(&policy, "m", target).scopes;
        assert_eq!(of(Target::Tool("x")), ["t"]);
        assert_eq!(of(Target::Prompt("x")), ["p"]);
        assert_eq!(of(Target::Prompt("y")), [""; 0]);
        for other in ["X", "x ", " x", "x\0", "", "\u{ff58}"] {
            assert_eq!(of(Target::Tool(other)), ["o"], "{other:?}");
        }
    }

    #[test]
    fn a_resource_needs_what_every_reading_of_it_needs() {
        let policy = ScopePolicy::new()
            .resource_prefix("file:///public/", [])
            .resource_prefix("file:///private/", ["private"])
            .resource("file:///private/key", ["key"])
            .resource("Docs://Readme", ["docs"])
            .other_resources(["other"]);
        for (uri, scopes) in [
            ("file:///public/x", &[][..]),
            ("file:///private/x", &["private"]),
            ("file:///private/key", &["private", "key"]),
            ("file:///public/../private/key", &["private", "key"]),
            ("FILE:/private/k%65y", &["other", "private", "key"]),
            ("file:///public/../etc/passwd", &["other"]),
            ("Docs://Readme", &["docs"]),
            ("docs://readme", &["other", "docs"]),
            ("file:///etc/passwd", &["other"]),
            ("file:///public/x?/../../private/key", &["private", "key"]),
            ("file:///public/x#/../../private/key", &["private", "key"]),
            (
                "file:///public/x?/../../private/y#/../../public/z",
                &["private"],
            ),
            (
                "file:///public/x#/../../private/y?/../../public/z",
                &["private"],
            ),
            ("file:///public/x?y=/private/key", &[]),
        ] {
            assert_eq!(of_resource(&policy, uri), scopes, "{uri}");
        }
    }

    #[test]
    fn what_is_not_listed_can_be_denied() {
        let policy = ScopePolicy::new()
            .tool("time", [])
            .resource_prefix("file:///public/", [])
            .method("tasks/get", ["tasks"])
            .deny_unlisted();
        let denied = |method, target| needs(&policy, method, target).unlisted;
        assert!(!denied("tools/call", Target::Tool("time")));
        assert!(denied("tools/call", Target::Tool("Time")));
        assert!(denied("prompts/get", Target::Prompt("time")));
        assert!(!denied(
            "resources/read",
            Target::Resource("file:///public/a")
        ));
        assert!(denied(
            "resources/read",
            Target::Resource("file:///public/../a")
        ));
        for (method, is_denied) in [
            ("tools/list", false),
            ("notifications/cancelled", false),
            ("notifications/initialized", false),
            ("notifications/progress", false),
            ("notifications/roots/list_changed", false),
            ("notifications/reindex", true),
            // A server's.
            ("notifications/message", true),
            ("tasks/get", false),
            ("tasks/cancel", true),
            ("Tools/call", true),
        ] {
            let mut needs = Needs::default();
            policy.add_method(method, &mut needs);
            assert_eq!(needs.unlisted, is_denied, "{method}");
        }
    }

    #[test]
    fn a_scope_is_a_scope_token() {
        for bad in ["", "a b", "a\"", "a\\b", "\u{e9}", "a\r\n", "\u{7f}"] {
            let policy = ScopePolicy::new()
                .tool("fine", ["a:b/c.d"])
                .tool("bad", ["ok", bad]);
            let error = policy.prompt("bad too", [""]).valid().unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(&format!("{bad:?}, of tool \"bad\"")),
                "{text}"
            );
        }
    }
}
