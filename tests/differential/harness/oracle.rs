//! What jsonwebtoken says, told to be as strict as it can be.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, crypto, decode};

use super::{
    keys::Signer,
    world::{AUDIENCE, ISSUER, Members, Set},
};

/// The claims, where one of the keys that may be asked verifies the token.
pub(crate) fn claims(set: &Set, kid: Option<&str>, token: &str) -> Option<Members> {
    candidates(set, kid)
        .into_iter()
        .find_map(|key| claims_by(&key.decoding, key.algorithm, token))
}

pub(crate) fn claims_by(key: &DecodingKey, algorithm: Algorithm, token: &str) -> Option<Members> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    decode(token, key, &validation).ok().map(|data| data.claims)
}

/// The key, of those that may be asked, that signed the token, whatever its claims are.
pub(crate) fn signed_by(set: &Set, kid: Option<&str>, token: &str) -> Option<&'static Signer> {
    let (message, signature) = token.rsplit_once('.')?;
    candidates(set, kid).into_iter().find(|key| {
        crypto::verify(signature, message.as_bytes(), &key.decoding, key.algorithm)
            .is_ok_and(|fits| fits)
    })
}

/// The rules on `kid`: the keys that answer to it and no other, else those that declare none.
/// Without a `kid`, every key.
fn candidates(set: &Set, kid: Option<&str>) -> Vec<&'static Signer> {
    let answering = |kid: &str| set.members.iter().any(|member| member.answers_to(kid));
    set.members
        .iter()
        .filter(|member| match kid {
            None => true,
            Some(kid) if answering(kid) => member.answers_to(kid),
            Some(_) => !member.declares_kid(),
        })
        .map(|member| member.signer)
        .collect()
}
