//! Whether a caller may do what a message asks for.

use http::{Extensions, HeaderMap, HeaderValue};

use super::{
    headers,
    policy::{Needs, ScopePolicy},
};
use crate::{
    Authentication,
    layer::{Anonymous, Refusal},
    mcp::message::{Message, Names, Unreadable, each_message},
};

/// What the headers say that the message needs; `None` where they cannot decide, and it must be read.
pub(super) fn by_headers<'p>(policy: &'p ScopePolicy, headers: &HeaderMap) -> Option<Needs<'p>> {
    let method = headers::method(headers)?;
    let mut needs = Needs::default();
    policy.add_method(method, &mut needs);
    match Names::of(method) {
        Names::Nothing => {}
        Names::Directory | Names::Reference | Names::Filter => {
            if policy.is_about_prompts_or_resources() {
                return None;
            }
        }
        names @ (Names::Tool | Names::Prompt | Names::Resource) => {
            let name = headers::name(headers)?;
            policy.add_target(names.target(&name)?, &mut needs);
        }
    }
    Some(needs)
}

/// What all the messages of a body need together, and the id that an answer is to carry.
pub(super) fn by_body<'p, 'b>(
    policy: &'p ScopePolicy,
    body: &'b [u8],
) -> (Option<&'b str>, Result<Needs<'p>, Unreadable>) {
    let mut needs = Needs::default();
    let (id, result) = each_message(body, |message: &Message<'_>| {
        if let Some(method) = message.method() {
            policy.add_method(method, &mut needs);
        }
        message.each_target(|target| policy.add_target(target, &mut needs))
    });
    (id, result.map(|()| needs))
}

/// Who makes a request, as the token layer left it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caller<'e> {
    Known(&'e Authentication),
    /// Let through without a token. What the token layer would have answered.
    Nobody(&'e HeaderValue),
}

impl<'e> Caller<'e> {
    pub(super) fn find(extensions: &'e Extensions) -> Result<Self, Refusal> {
        if let Some(known) = extensions.get::<Authentication>() {
            return Ok(Self::Known(known));
        }
        let anonymous = extensions.get::<Anonymous>();
        match anonymous.and_then(|anonymous| anonymous.challenge.as_ref()) {
            Some(challenge) => Ok(Self::Nobody(challenge)),
            None => Err(Refusal::misconfigured(
                "ScopesLayer finds no caller: add `JwtRotationLayer::new(keyring)` around it",
            )),
        }
    }

    pub(super) fn may(self, needs: &Needs<'_>) -> Result<(), Refusal> {
        let Needs { scopes, unlisted } = needs;
        match self {
            _ if *unlisted => Err(Refusal::unlisted()),
            _ if scopes.is_empty() => Ok(()),
            Self::Nobody(challenge) => Err(Refusal::anonymous(challenge.clone())),
            Self::Known(caller) if scopes.iter().all(|scope| caller.grants(scope)) => Ok(()),
            Self::Known(caller) => Err(caller.insufficient_scope(scopes.iter().copied())),
        }
    }
}
