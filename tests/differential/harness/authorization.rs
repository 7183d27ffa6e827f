//! The `Authorization` header: its grammar, said once more.
//!
//! For the fuzzer, the values of the headers stand one a line, and `@token` is a good token.

use std::sync::LazyLock;

use http::HeaderValue;
use tower_secrets::{JwtRotationLayer, layer::RefusalKind};

use super::{
    case::fill,
    judge::Finding,
    keys::SIGNERS,
    world::{Answer, App, WORLD, ask},
};

/// What a request's headers are, by RFC 9110, section 11.6.2, and RFC 6750, section 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// None that is for us.
    Missing,
    Malformed,
    GoodToken,
    OtherToken,
}

/// `None` where no header can hold it.
pub(crate) fn judge(bytes: &[u8]) -> Result<Option<Form>, Finding> {
    let lines = fill(bytes, "@token", &TOKEN);
    let lines: Vec<_> = match lines.as_slice() {
        [] => Vec::new(),
        lines => lines.split(|byte| *byte == b'\n').collect(),
    };
    let values: Result<Vec<_>, _> = lines
        .iter()
        .map(|line| HeaderValue::from_bytes(line))
        .collect();
    let Ok(values) = values else {
        return Ok(None);
    };
    let form = form(&lines);
    let set = &WORLD.sets[0];
    expect(form, &set.registered, &values, false)?;
    expect(
        form,
        &set.registered.clone().allow_anonymous(),
        &values,
        true,
    )?;
    Ok(Some(form))
}

fn expect(
    form: Form,
    layer: &JwtRotationLayer<App>,
    values: &[HeaderValue],
    anonymous: bool,
) -> Result<(), Finding> {
    let answer = ask(layer, values);
    let fits = match (form, &answer) {
        (Form::GoodToken, Answer::Passed(Some(_))) => true,
        (Form::Missing, Answer::Passed(None)) => anonymous,
        (Form::Missing, Answer::Refused(refusal)) => {
            !anonymous && refusal.kind() == RefusalKind::NoCredentials
        }
        (Form::Malformed, Answer::Refused(refusal)) => {
            refusal.kind() == RefusalKind::InvalidRequest
        }
        (Form::OtherToken, Answer::Refused(refusal)) => refusal.verify_error().is_some(),
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{values:?} is {form:?}, and the layer says {answer:?}"
        )),
    }
}

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = br#"{"iss":"https://issuer.test","aud":"https://api.test","exp":4102444800}"#;
    SIGNERS[0].token(br#"{"alg":"HS256"}"#, claims)
});

fn form(values: &[&[u8]]) -> Form {
    let [value] = values else {
        return if values.is_empty() {
            Form::Missing
        } else {
            Form::Malformed
        };
    };
    // A character for each byte.
    let text: String = value.iter().copied().map(char::from).collect();
    let text = text.trim_matches([' ', '\t']);
    let scheme = text
        .split(|letter| !is_tchar(letter))
        .next()
        .unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Form::Missing;
    }
    let rest = &text[scheme.len()..];
    let token = rest.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    if token.len() == rest.len() || body.is_empty() || !body.chars().all(is_b64char) {
        return Form::Malformed;
    }
    if token == *TOKEN {
        Form::GoodToken
    } else {
        Form::OtherToken
    }
}

fn is_tchar(letter: char) -> bool {
    letter.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(letter)
}

fn is_b64char(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' | '+' | '/')
}
