//! Whether a caller may do what a message asks for.

use http::{Extensions, HeaderMap};

use super::{
    headers,
    policy::{Needs, ScopePolicy},
};
use crate::{
    layer::{Refusal, check_scopes},
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
        names @ (Names::Tool | Names::Prompt | Names::Resource) => match headers::name(headers) {
            Some(name) => policy.add_target(names.target(&name)?, &mut needs),
            // A server of this version is to say that, whatever is named.
            None if headers::is_removed(method) => {}
            None => return None,
        },
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

/// Whether whoever the token layer has found may do what needs this.
pub(super) fn may(extensions: &Extensions, needs: &Needs<'_>) -> Result<(), Refusal> {
    // No scope would help with what is not listed, so none is asked for.
    let scopes = if needs.unlisted { &[] } else { &*needs.scopes };
    check_scopes(extensions, scopes.iter().copied())?;
    if needs.unlisted {
        return Err(Refusal::unlisted());
    }
    Ok(())
}
